"""Different problems of one split: in order, without an end that is not said."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes import distinct as module
from recipes.distinct import distinct, split_of


def length_decides(text):
    return "eval" if len(text) == 1 else "train"


def test_by_hand():
    draws = ["aa", None, "b", "aa", "cc", "dd"]
    assert distinct(draws, 2, "train", str, split_of=length_decides) == ["aa", "cc"]
    assert distinct(draws, 1, "eval", str, split_of=length_decides) == ["b"]
    assert distinct(draws, 0, "train", str) == []


def test_draws_that_end_or_repeat_themselves_for_ever(monkeypatch):
    with pytest.raises(ValueError, match=r"^n=2 is not allowed: only 1 distinct eval letters found$"):
        distinct(["aa", "b"], 2, "eval", str, "letters", length_decides)
    monkeypatch.setattr(module, "PATIENCE", 5)
    drawn = []
    with pytest.raises(ValueError, match="only 1 distinct train problems found"):
        distinct((drawn.append(1) or "aa" for _ in itertools.count()), 2, "train", str, split_of=length_decides)
    assert len(drawn) < 10


def test_the_splits():
    with pytest.raises(ValueError, match="split='dev' is not allowed: it must be one of train, eval"):
        distinct(["a"], 1, "dev", str)
    assert distinct([], 0, "train", str) == []
    share = sum(split_of(str(number)) == "eval" for number in range(4000)) / 4000
    assert 0.1 < share < 0.15


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 5))
def test_a_longer_list_starts_with_a_shorter_one(numbers, n):
    keys = [number for number in dict.fromkeys(numbers) if split_of(str(number)) == "train"]
    if n <= len(keys):
        assert distinct(numbers, n, "train", int, split_of=lambda key: split_of(str(key))) == keys[:n]
