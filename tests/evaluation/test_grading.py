"""A reward function as an evaluator reads it."""

import asyncio

import pytest

from tests.inference.rows import GOOD
from verl_gpo.core.types import ScoringError
from verl_gpo.evaluation.grading import Verdict, grade
from verl_gpo.inference.task import Prompt

PROMPT = Prompt(3, GOOD["prompt"], "fake", "2", {})


def graded(result):
    def reward(**row):
        if isinstance(result, Exception):
            raise result
        return result

    return asyncio.run(grade(reward, PROMPT, "r"))


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (1, Verdict(1.0, 1.0, None)),
        (0.25, Verdict(0.25, 0.25, None)),
        ({"score": 0.5}, Verdict(0.5, 0.5, None)),
        ({"score": -2.0, "acc": 1, "pred": 7}, Verdict(-2.0, 1.0, "7")),  # a score may be anything, an accuracy not
        ({"score": 1.0, "pred": ""}, Verdict(1.0, 1.0, "")),
    ],
)
def test_score_accuracy_and_prediction(result, verdict):
    assert graded(result) == verdict


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (KeyError("gone"), "the reward function failed: KeyError"),
        ("good", "ValueError"),
        (None, "TypeError"),
        ({"acc": 1.0}, "KeyError"),
        (float("nan"), "gave nan"),
        ({"score": float("inf"), "acc": 1.0}, "gave inf"),
        (-1.0, r"must be in \[0, 1\]"),
        ({"score": 1.0, "acc": 1.5}, "accuracy 1.5"),
    ],
)
def test_what_is_no_verdict_is_an_error(result, said):
    with pytest.raises(ScoringError, match=said):
        graded(result)
