"""``gpo/*``: hand-made records to exact values, and names that verl does not reduce by accident."""

import math
from types import SimpleNamespace

import pytest

from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.draw import Usage
from verl_gpo.core.learn import ReentryGroup
from verl_gpo.core.result import GroupResult, Reentry
from verl_gpo.core.types import Continuation, ScoredContinuation
from verl_gpo.core.values import UNKNOWN, StateValue
from verl_gpo.plugin.observe.metrics import accuracy, prompt_record, step_metrics

COUNTS = (
    *("requests", "tokens", "context_tokens", "cached_tokens", "cut", "censored"),
    *("sampling_failures", "scoring_failures"),
)


def usage(**values):
    return {**dict.fromkeys(COUNTS, 0), "seconds": 0.0, **values}


REENTERED = {
    "root_tokens": 100,
    "root_rewards": [1.0, 0.0],
    "root_accuracies": [1.0, 0.0],
    "rollout_seconds": 1.0,
    "skipped": None,
    "failed": False,
    "unscored": 0,
    "reentry_rewards": [1.0, 1.0, 0.0, 0.0],
    "reentry_accuracies": [1.0, 0.0, 0.0, 0.0],
    "reentry_tokens": 54,
    "steps": [5],
    "states": [4],
    "critical": [(2, 5, 0.75, 0.5)],
    "effort": "search",
    "thinned": True,
    "cpu_seconds": 0.25,
    "usage": {
        "value": usage(requests=16, tokens=300, context_tokens=800, cached_tokens=600, sampling_failures=1, seconds=2),
        "reentry": usage(requests=4, tokens=60, context_tokens=200, cached_tokens=150, scoring_failures=2, seconds=1),
    },
}
WITHOUT_CRITICAL_STEP = {
    "root_tokens": 60,
    "root_rewards": [0.0, 0.0],
    "root_accuracies": [0.0, 0.0],
    "rollout_seconds": 3.0,
    "skipped": None,
    "failed": False,
    "unscored": 0,
    "reentry_rewards": [],
    "reentry_accuracies": [],
    "reentry_tokens": 0,
    "steps": [3],
    "states": [2],
    "critical": [],
    "effort": "propose",
    "thinned": False,
    "cpu_seconds": 0.75,
    "usage": {"value": usage(requests=8, tokens=180, seconds=4, cut=3, censored=2), "reentry": usage()},
}
SKIPPED = {
    "root_tokens": 40,
    "root_rewards": [1.0],
    "root_accuracies": [1.0],
    "rollout_seconds": 2.0,
    "skipped": "root_failed",
    "failed": False,
    "unscored": 0,
}
FAILED = {**SKIPPED, "root_tokens": 0, "root_rewards": [], "root_accuracies": [], "skipped": None, "failed": True}


def test_a_step_by_hand():
    metrics = step_metrics([REENTERED, WITHOUT_CRITICAL_STEP, SKIPPED, FAILED])
    assert metrics == {
        "gpo/prompts/reentered": 1 / 4,
        "gpo/prompts/without_critical_step": 1 / 2,  # of the two that were searched
        "gpo/prompts/skipped": 1 / 4,
        "gpo/prompts/failed": 1 / 4,
        "gpo/prompts/degraded": 1 / 2,
        "gpo/critical/found": 1.0,
        "gpo/critical/position": 2 / 4,  # third of five: 0 is the first, 1 the last
        **{f"gpo/critical/fifth_{fifth}": float(fifth == 3) for fifth in range(1, 6)},
        "gpo/critical/advantage": 0.75,
        "gpo/critical/confidence": 0.5,
        "gpo/steps": 4.0,
        "gpo/states_sampled": 3.0,
        "gpo/reward/root": 2 / 5,
        "gpo/accuracy/root": 2 / 5,
        "gpo/rollouts/root": 5.0,
        "gpo/reward/reentry": 2 / 4,
        "gpo/accuracy/reentry": 1 / 4,
        "gpo/rollouts/reentry": 4.0,
        "gpo/mixed/root": 1 / 2,  # of the two groups of more than one
        "gpo/tokens/root": 200.0,
        "gpo/seconds/rollout": 2.0,  # 1 3 2 2
        "gpo/tokens/value": 480.0,
        "gpo/tokens/value_over_root": 480 / 200,
        "gpo/requests/value": 24.0,
        "gpo/seconds/value": 3.0,
        "gpo/tokens/reentry": 60.0,
        "gpo/tokens/reentry_over_root": 60 / 200,
        "gpo/requests/reentry": 4.0,
        "gpo/seconds/reentry": 0.5,
        "gpo/seconds/search_cpu": 0.5,
        "gpo/tokens/learnt_share": 54 / 540,
        "gpo/prefix_cache_hit_share": 750 / 1000,
        "gpo/failures/sampling": 1.0,
        "gpo/failures/scoring": 2.0,
        "gpo/continuations/cut": 3.0,
        "gpo/continuations/censored": 2.0,
        "gpo/skipped/root_failed": 1 / 4,
        "gpo/prompts/thinned": 1 / 2,
    }


def test_no_name_holds_a_word_by_which_verl_reduces():
    names = step_metrics([REENTERED, WITHOUT_CRITICAL_STEP, SKIPPED, FAILED])
    words = ("min", "max", "sum", "mean", "total", "avg")
    assert [name for name in names if any(word in name for word in words)] == []


def test_without_records_there_are_no_metrics():
    assert step_metrics([]) == {} and step_metrics(iter(())) == {}


def test_an_unknown_advantage_is_left_out():
    random_choice = {**REENTERED, "critical": [(0, 1, math.nan, math.nan)]}
    both = step_metrics([REENTERED, random_choice])
    assert both["gpo/critical/found"] == 2.0 and both["gpo/critical/advantage"] == 0.75
    assert both["gpo/critical/position"] == 0.25  # .5 and, of a single step, 0
    assert [both[f"gpo/critical/fifth_{fifth}"] for fifth in range(1, 6)] == [0.5, 0.0, 0.5, 0.0, 0.0]
    assert "gpo/critical/advantage" not in step_metrics([random_choice])


def test_what_was_not_observed_is_left_out():
    metrics = step_metrics([FAILED])
    assert metrics["gpo/prompts/failed"] == 1.0 and metrics["gpo/rollouts/root"] == 0.0
    absent = ("reward/root", "reward/reentry", "steps", "critical/position", "prefix_cache_hit_share", "seconds/value")
    assert not {f"gpo/{name}" for name in (*absent, "prompts/without_critical_step")} & set(metrics)
    assert not any(math.isnan(value) for value in metrics.values())


def output(reward, acc=None, tokens=3):
    extra = {} if acc is None else {"reward_extra_info": {"acc": acc}}
    return SimpleNamespace(
        response_ids=[1] * tokens, response_mask=[1] * tokens, reward_score=reward, extra_fields=extra
    )


@pytest.mark.parametrize(
    ("acc", "expected"),
    [(1.0, 1.0), (True, 1.0), ("0.25", 0.25), (None, 0.5), ("right", 0.5), ([1.0], 0.5), (math.nan, 0.5)],
)
def test_accuracy_is_acc_where_the_reward_reports_a_number_and_the_reward_elsewhere(acc, expected):
    assert accuracy({"reward_extra_info": {"acc": acc}}, 0.5) == expected


def test_without_acc_the_reward_is_the_accuracy():
    assert accuracy({}, 0.5) == accuracy({"reward_extra_info": None}, 0.5) == 0.5


def test_a_reward_that_is_no_finite_number_is_a_reward_that_failed():
    record = prompt_record([output(1.0), output(math.nan), output(math.inf), output(None)], [], None, 1.0)
    assert record["root_rewards"] == record["root_accuracies"] == [1.0] and record["unscored"] == 2
    assert step_metrics([record])["gpo/failures/scoring"] == 2.0


def test_a_record_of_a_result_and_its_summary():
    reentry = ScoredContinuation(Continuation((1, 2)), 0.25, source=output(0.25, acc=1.0))
    group, sampled = ReentryGroup(2, (1,) * 8, (reentry,), critical=True), StateValue(0.5, 4)
    result = GroupResult(
        [
            Reentry(0, (4, 8, 9), (UNKNOWN, sampled, UNKNOWN, UNKNOWN), CriticalStep(2, 0.5, 0.9), (group,)),
            Reentry(1, (6,), (UNKNOWN,) * 2, None),
        ],
        {"value": Usage(requests=2, tokens=20), "reentry": Usage(requests=1, tokens=2)},
    )
    record = prompt_record([output(1.0), output(None)], [reentry], result, 1.5)
    assert record["root_tokens"] == 6 and record["root_rewards"] == [1.0]  # a root without reward counts its tokens
    assert record["reentry_rewards"] == [0.25] and record["reentry_accuracies"] == [1.0]
    assert record["steps"] == [3, 1] and record["critical"] == [(2, 3, 0.5, 0.9)]
    assert record["states"] == [1, 0] and record["reentry_tokens"] == 2
    assert record["reentry_mixed"] == []  # one rollout is no group
    assert record["usage"]["value"]["tokens"] == 20
    result.usage["value"].tokens = 99
    assert record["usage"]["value"]["tokens"] == 20  # a copy
    assert step_metrics([record])["gpo/critical/position"] == 1.0
    assert step_metrics([record])["gpo/critical/fifth_5"] == 1.0


def test_which_groups_teach_and_which_critical_steps_the_data_set_names():
    def group(state, *rewards):
        rollouts = tuple(ScoredContinuation(Continuation((1,)), reward, source=output(reward)) for reward in rewards)
        return ReentryGroup(state, (1,) * state, rollouts, critical=True)

    reentries = [
        Reentry(0, (4, 8), (UNKNOWN,) * 3, CriticalStep(1, 0.5, 0.9), (group(1, 0.0, 1.0),)),
        Reentry(1, (4, 8), (UNKNOWN,) * 3, CriticalStep(0, 0.5, 0.9), (group(0, 1.0, 1.0, 1.0),)),
        Reentry(2, (4, 8), (UNKNOWN,) * 3, None),
    ]
    result = GroupResult(reentries, {"value": Usage(), "reentry": Usage()})
    record = prompt_record([output(1.0), output(1.0)], [], result, 1.0, given=(1, 5))
    metrics = step_metrics([record])
    assert metrics["gpo/mixed/reentry"] == 1 / 2 and metrics["gpo/mixed/root"] == 0.0
    assert metrics["gpo/critical/given"] == 1 / 2
    silent = step_metrics([prompt_record([output(1.0)], [], result, 1.0)])
    assert "gpo/critical/given" not in silent and "gpo/mixed/root" not in silent


def test_a_prompt_that_the_engine_skipped_is_not_counted_as_searched():
    record = prompt_record([output(1.0)], [], GroupResult(skipped="skip_groups"), 1.0, skipped="skip_groups")
    metrics = step_metrics([record])
    assert metrics["gpo/prompts/skipped"] == 1.0 and "gpo/prompts/without_critical_step" not in metrics


def test_a_record_without_a_result_is_not_counted_as_searched():
    record = prompt_record([output(1.0)], [], None, 1.0, skipped="multi_turn")
    assert "usage" not in record and record["skipped"] == "multi_turn"
