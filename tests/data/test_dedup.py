"""Which questions are the same, and which rows of a training set stay."""

import pytest

from verl_gpo.data.dedup import Filter, key, keys, normalise
from verl_gpo.data.registry import Example


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 1+1?", " what  is 1+1 "),
        (r"$\dfrac{1}{2}$", r"\frac{1}{2}"),
        (r"\left( x \right)", "(x)"),
        ("1,000 apples.", "1000 apples"),
        ("ＡＢＣ", "abc"),
    ],
)
def test_the_same_question_however_it_is_set(one, other):
    assert normalise(one) == normalise(other) and key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1+1", "1-1"), ("1.5", "15"), ("x < 3", "x > 3"), ("5!", "5"), (r"\frac{1}{2}", r"\sqrt{1}{2}")]
)
def test_signs_that_carry_meaning_make_another_question(one, other):
    assert key(one) != key(other)


def test_a_key_is_sixteen_bytes():
    assert {len(found) for found in keys([Example("a", "1"), Example("A", "2"), Example("b", "3")])} == {16}
    assert len(keys([Example("a", "1"), Example("A", "2")])) == 1


def test_repetitions_conflicts_and_held_out_rows_are_left_out_and_counted():
    kept = Filter({"test": {key("held out?")}, "other": {key("Held out"), key("nowhere")}})
    rows = [
        Example("one?", "1"),
        Example("ONE", "1"),  # the same question, the same answer
        Example("two?", "2"),
        Example("two?", "3"),  # the same question, another answer: both are left out
        Example("held out", "4"),
        Example("three", "5"),
    ]
    for index, example in enumerate(rows):
        kept.add(index, example)
    assert kept.result() == [(0, rows[0]), (5, rows[5])]
    assert kept.report() == {"duplicates": 2, "conflicting": 1, "held_out": {"test": 1, "other": 1}}
