"""A training step in one line: all of it, parts of it, nothing of it."""

import pytest

from verl_gpo.traces import step_line
from verl_gpo.traces.runlog import RunLog

FULL = {
    "val-core/a/acc/mean@1": 0.25,
    "gpo/accuracy/root": 0.5,
    "gpo/accuracy/reentry": 0.75,
    "gpo/critical/found": 12.0,
    "gpo/critical/position": 0.25,
    "gpo/critical/confidence": 0.6,
    "gpo/prompts/without_critical_step": 0.125,
    "gpo/tokens/root": 1000.0,
    "gpo/tokens/value": 2500.0,
    "gpo/tokens/reentry": 500.0,
    "gpo/prefix_cache_hit_share": 0.875,
    "gpo/failures/sampling": 2.0,
    "gpo/failures/scoring": 1.0,
    "timing_s/step": 12.34,
}


def test_all_that_can_be_said():
    assert step_line.step_line(7, FULL) == (
        "step 7: validation 0.250, root accuracy 0.50, re-entry 0.75, "
        "12 critical steps (at 25%, confidence 0.60, 12% abstained), "
        "4.0k tokens (75% search and re-entry), cache hits 88%, 3 requests failed, 12.3 s"
    )


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({}, "nothing logged"),
        ({"gpo/critical/found": 0.0, "gpo/critical/position": 0.5}, "0 critical steps"),
        ({"gpo/critical/found": 1.0}, "1 critical step"),
        ({"gpo/critical/found": 3.0, "gpo/requests/value": 9.0}, "3 critical steps"),
        # From what is free alone, and to a random state.
        (
            {"gpo/critical/found": 3.0, "gpo/critical/confidence": 0.9, "gpo/requests/value": 0.0},
            "3 critical steps (confidence 0.90)",
        ),
        ({"gpo/critical/found": 3.0, "gpo/critical/position": 0.5, "gpo/requests/value": 0.0}, "3 resets (at 50%)"),
        # Switched off, or with nothing searched, a count of 0 says nothing.
        ({"gpo/critical/found": 0.0, "gpo/prompts/skipped": 1.0, "timing_s/step": 1.0}, "1.0 s"),
        ({"gpo/tokens/root": 2_500_000.0}, "2.5M tokens"),
        ({"gpo/tokens/root": 999.0}, "999 tokens"),
    ],
)
def test_what_was_not_logged_is_not_said(metrics, said):
    assert step_line.step_line(0, metrics) == f"step 0: {said}"


def test_a_line_is_short_enough_to_read():
    from tests.conftest import REPOSITORY

    for run in ("gpo", "grpo"):
        log = RunLog.read(REPOSITORY / "recipes" / "arithmetic" / "results" / run / "metrics.jsonl")
        assert all(len(step_line.step_line(step, metrics)) < 250 for step, metrics in log.steps.items())
