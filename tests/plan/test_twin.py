"""Twins: the same tokens, the same optimizer steps."""

from dataclasses import replace

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.plan.__main__ import gpo_settings
from verl_gpo.plan.configuration import PlanError
from verl_gpo.plan.numbers import Batch, expectation, workload
from verl_gpo.plan.twin import MATCH, TWINS, method_settings, twin

METRICS = REPOSITORY / "recipes" / "arithmetic" / "results" / "gpo" / "metrics.jsonl"


@pytest.mark.parametrize("rows", ["added", "matched"])
@pytest.mark.parametrize("preset", ["paper", "fast"])
@pytest.mark.parametrize("match", MATCH)
@pytest.mark.parametrize("method", TWINS)
def test_no_neighbour_comes_closer(configured, method, match, preset, rows):
    configuration = configured(f"algorithm.gpo.preset={preset}", f"algorithm.gpo.rows={rows}")
    gpo = gpo_settings(configuration)
    found = twin(configuration, gpo, method, match)
    settings, expected, batch = method_settings(gpo, method), expectation(configuration), Batch.of(configuration)
    distance = abs(found.workload.tokens - found.gpo_tokens)
    for change in (-1, 1):
        if match == "n":
            other = replace(batch, n=found.workload.n + change)
        else:
            size = found.workload.prompts + change  # one mini-batch a step
            other = Batch(size, batch.n, size)
        assert distance <= abs(workload(configuration, settings, expected, other).tokens - found.gpo_tokens)


def test_the_plain_twin_takes_as_many_optimizer_steps(configured):
    configuration = configured("actor_rollout_ref.actor.ppo_mini_batch_size=4")
    gpo = gpo_settings(configuration)
    own = workload(configuration, gpo, expectation(configuration))
    assert own.actor.optimizer_steps == 6  # (128 + 64) / 32
    for match in MATCH:
        assert twin(configuration, gpo, "plain", match).workload.actor.optimizer_steps == 6


def test_its_overrides_are_what_changes(configured):
    configuration = configured("algorithm.gpo.rows=matched", "+recipe.steps=8", "+recipe.response_tokens=250")
    found = twin(configuration, gpo_settings(configuration), "plain")
    # 4 roots of 250, 28 continuations and 4 rollouts of 125 on average: 5,000 tokens a prompt, 20 roots.
    assert found.overrides == ("actor_rollout_ref.rollout.n=20",) and found.ratio == 1
    by_prompts = twin(configuration, gpo_settings(configuration), "plain", "prompts")
    assert by_prompts.overrides == (
        "data.train_batch_size=40",
        "actor_rollout_ref.actor.ppo_mini_batch_size=40",
    )


def test_what_a_run_spent_counts_more_than_what_was_expected(configured):
    configuration = configured()
    found = twin(configuration, gpo_settings(configuration), "plain", measured=METRICS)
    assert found.gpo_tokens == pytest.approx(363_853 / 16)
    # 54.00 tokens a response: 22,741 tokens a step are 26.32 rollouts of each of 16 prompts.
    assert found.workload.n == 26


@pytest.mark.parametrize("override", ["enable=false", "search=none", "search=random"])
def test_a_twin_has_no_twin(configured, override):
    configuration = configured(f"algorithm.gpo.{override}")
    with pytest.raises(PlanError, match="a twin is of a run with a search"):
        twin(configuration, gpo_settings(configuration), "plain")


def test_the_control_has_the_run_s_tokens_and_its_rows(configured):
    configuration = configured("algorithm.gpo.rows=matched", "+recipe.steps=8", "+recipe.response_tokens=250")
    found = twin(configuration, gpo_settings(configuration), "pods")
    # 5,000 tokens a prompt are 20 rollouts, of which as many are trained on as the run has rows: 8.
    assert found.overrides == (
        "algorithm.gpo.preset=pods",
        "algorithm.gpo.kept_rows=8",
        "actor_rollout_ref.rollout.n=20",
    )
    assert found.ratio == 1 and found.workload.root_rows == 16 * 8
    own = workload(configuration, gpo_settings(configuration), expectation(configuration))
    assert found.workload.actor.optimizer_steps == own.actor.optimizer_steps
    with pytest.raises(PlanError, match="--match prompts: must be n with --twin pods"):
        twin(configuration, gpo_settings(configuration), "pods", "prompts")


def test_a_run_without_reentry_has_no_random_twin(configured):
    configuration = configured("algorithm.gpo.preset=vineppo")
    gpo = gpo_settings(configuration)
    with pytest.raises(PlanError, match="algorithm.gpo.n_reentry=0: a run without re-entry has no random twin"):
        twin(configuration, gpo, "random")
    assert twin(configuration, gpo, "plain").ratio == pytest.approx(1.0, abs=0.05)
