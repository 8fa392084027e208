"""reasoning-gym's answers: exact match, the package's own score where it is installed, partial credit."""

import json

import pytest

from verl_gpo.graders import gym
from verl_gpo.graders.gym import grade

ENTRY = {"question": "q", "answer": "1 2"}


class Pool:
    """Stands in for the worker process."""

    def __init__(self, score):
        self.score, self.calls = score, []

    def run(self, *call):
        self.calls.append(call)
        return self.score


@pytest.fixture
def scored(monkeypatch):
    def by(score, installed=True):
        pool = Pool(score)
        monkeypatch.setattr(gym, "shared", lambda: pool)
        monkeypatch.setattr(gym, "installed", lambda: installed)
        return pool

    return by


def extra(entry=ENTRY):
    return {"task": "sums", "metadata": {"entry": entry}}


def test_the_same_words_are_right_and_ask_nobody(scored):
    pool = scored(0.0)
    assert grade("<answer>1\n 2</answer>", ("1 2",), extra()).score == 1.0 and pool.calls == []


@pytest.mark.parametrize(
    ("score", "graded"),
    [(1.0, (1.0, 1.0)), (0.25, (0.25, 0.0)), (None, (0.0, 0.0)), (7.0, (1.0, 1.0)), (-1.0, (0.0, 0.0))],
)
@pytest.mark.parametrize("entry", [ENTRY, json.dumps(ENTRY)], ids=["mapping", "JSON"])
def test_another_answer_is_scored_by_the_package_and_bounded(scored, score, graded, entry):
    pool = scored(score)
    assert grade("<answer>1 3</answer>", ("1 2",), extra(entry)) == (*graded, "1 3")
    assert pool.calls == [("gym", "sums", "1 3", ENTRY)]


def test_without_the_package_or_the_entry_only_the_same_words_are_right(scored):
    pool = scored(1.0, installed=False)
    assert grade("<answer>1 3</answer>", ("1 2",), extra()).score == 0.0
    scored(1.0)
    assert grade("<answer>1 3</answer>", ("1 2",), extra(None)).score == 0.0 and pool.calls == []


def test_no_answer_is_no_score(scored):
    pool = scored(1.0)
    assert grade("", ("1 2",), extra()) == (0.0, 0.0, "") and pool.calls == []
