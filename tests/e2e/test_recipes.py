"""The paper's recipe, written for eight GPUs, at toy size: the same YAML files, and what the plan said of them."""

import math

import pytest

from tests.conftest import REPOSITORY
from tests.e2e.test_training import assert_rollout_and_actor_agree
from verl_gpo.plan.__main__ import gpo_settings
from verl_gpo.plan.configuration import load
from verl_gpo.plan.numbers import Expectation, workload

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]
CONFIG = REPOSITORY / "recipes" / "math" / "config"


def test_the_papers_recipe_with_lora_and_a_critic(train):
    overrides = [
        "setup=r1_distill_qwen_7b",
        "algo=ppo",
        "recipe.response_tokens=60",
        "algorithm.gpo.min_step_tokens=3",
        "actor_rollout_ref.rollout.n=8",
        "actor_rollout_ref.rollout.max_num_batched_tokens=2048",
        "trainer.total_training_steps=2",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
    ]
    run = train("math", CONFIG, "math", *overrides)
    batch = ["data.train_batch_size=4", "actor_rollout_ref.actor.ppo_mini_batch_size=4", "trainer.n_gpus_per_node=1"]
    planned = load(CONFIG, "math", [*overrides, *batch])
    expected = workload(planned, gpo_settings(planned), Expectation(8, 54, "the task's"))
    for step in (1, 2):
        metrics = run.metrics[step]
        assert metrics["gpo/rows"] == expected.actor.rows == 32
        assert metrics["gpo/optimizer_steps"] == expected.actor.optimizer_steps == 1
        # Four roots and four re-entry rollouts a prompt, or eight roots where no step gains.
        assert metrics["gpo/rollouts/root"] + metrics["gpo/rollouts/reentry"] == expected.actor.rows
        assert metrics["gpo/rollouts/reentry"] == 4 * metrics["gpo/critical/found"]
        assert metrics["gpo/tokens/value"] == pytest.approx(expected.value_tokens, rel=0.25)
        assert metrics["gpo/failures/sampling"] == metrics["gpo/failures/scoring"] == 0
        assert 0 < metrics["critic/vf_loss"] < math.inf and metrics["critic/grad_norm"] > 0
        assert metrics["actor/grad_norm"] > 0
        assert_rollout_and_actor_agree(metrics)
    assert sum(metrics["gpo/rollouts/reentry"] for metrics in run.metrics.values()) > 0
    assert "lora" in run.log.lower()
