"""Other optimizers than GRPO on the real pipeline: DAPO's filter, LoRA, KL in the loss. PPO: test_recipes.py."""

import json
from collections import defaultdict

import pytest

from tests.e2e.test_training import ARITHMETIC, assert_rollout_and_actor_agree, assert_searched

pytestmark = pytest.mark.e2e

TWO_STEPS = ("trainer.total_training_steps=2", "trainer.resume_mode=disable")


def test_dapo_with_lora_filters_by_the_roots(train, tmp_path):
    dapo = [
        "algorithm.filter_groups.enable=true",
        "algorithm.filter_groups.metric=acc",
        "actor_rollout_ref.actor.clip_ratio_high=0.28",
        "actor_rollout_ref.actor.use_kl_loss=true",
    ]
    lora = [
        "actor_rollout_ref.model.lora_rank=8",
        "actor_rollout_ref.model.lora_alpha=16",
        "actor_rollout_ref.rollout.load_format=safetensors",
        "actor_rollout_ref.actor.optim.lr=1e-3",
    ]
    dump = f"trainer.rollout_data_dir={tmp_path}/rollouts"
    run = train("dapo", *ARITHMETIC, *dapo, *lora, *TWO_STEPS, dump)
    assert sorted(run.metrics) == [1, 2]
    for step, metrics in run.metrics.items():
        assert_searched(metrics)
        outcomes = defaultdict(set)
        for line in (tmp_path / "rollouts" / f"{step}.jsonl").read_text().splitlines():
            row = json.loads(line)
            uid, session, _ = row["uid"].rsplit("_", 2)
            if int(session) < 4 and not uid.startswith("pad"):
                outcomes[uid].add(row["score"])
        # The roots of each group differ, whatever its re-entry rollouts came to. Unfiltered, one group in six does not.
        assert sorted(map(sorted, outcomes.values())) == [[0.0, 1.0]] * 4
        assert metrics["actor/grad_norm"] > 0 and metrics["actor/kl_loss"] >= 0
        assert_rollout_and_actor_agree(metrics)  # the adapter reaches the rollouts
    assert max(metrics["gpo/rollouts/branch"] for metrics in run.metrics.values()) > 0
