"""The one entry point: which grader, what it is given, and what comes back whatever happens."""

import json

import numpy as np
import pytest

from verl_gpo.graders import score
from verl_gpo.graders.gold import BadGroundTruth
from verl_gpo.graders.grade import Grade
from verl_gpo.graders.score import UnknownDataSource, compute_score, grader_of


@pytest.mark.parametrize(
    ("source", "grader"),
    [
        ("openai/gsm8k", "math"),
        ("cais/mmlu", "choice"),
        ("lukaemon/bbh", "bbh"),
        ("reasoning_gym/sums", "reasoning_gym"),
    ],
)
def test_the_data_source_picks_the_grader(source, grader):
    assert grader_of(source) == grader


@pytest.mark.parametrize("source", ["mine", "", None, "reasoning_gym"])
def test_an_unknown_source_is_named_with_the_known_ones(source):
    with pytest.raises(UnknownDataSource, match="has no grader: known are .*openai/gsm8k.*reasoning_gym/TASK"):
        compute_score(source, "x", "1")


@pytest.fixture
def seen(monkeypatch):
    calls = []

    def grader(response, golds, extra):
        calls.append((response, golds, extra))
        return Grade(1, 0, "\ud800" + "\0" + "p" * 300)

    monkeypatch.setitem(score.GRADERS, "math", grader)
    monkeypatch.setitem(score.GRADERS, "reasoning_gym", grader)
    return calls


def test_what_a_grader_is_given(seen):
    compute_score("openai/gsm8k", None, '["1", "2"]', {"metadata": json.dumps({"a": 1}), "task": "t"}, other=5)
    compute_score("openai/gsm8k", 5, 2.0, {"metadata": "no JSON"})
    compute_score("reasoning_gym/sums", "r", '["1", "2"]')  # a list may be the answer
    assert seen == [
        ("", ("1", "2"), {"metadata": {"a": 1}, "task": "t"}),
        ("5", ("2",), {"metadata": {}}),
        ("r", ('["1", "2"]',), {"metadata": {}}),
    ]


def test_what_comes_back_can_be_stacked_and_written(seen):
    graded = compute_score("openai/gsm8k", "r", np.array(["1"]))
    assert graded == {"score": 1.0, "acc": 0.0, "pred": "?" + "p" * 198}
    assert [type(value) for value in graded.values()] == [float, float, str]


def test_a_ground_truth_that_cannot_be_right_names_its_source():
    with pytest.raises(BadGroundTruth, match="^data_source='openai/gsm8k': ground_truth='' is empty"):
        compute_score("openai/gsm8k", "1", "")
