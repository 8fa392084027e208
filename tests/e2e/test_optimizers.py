"""verl's own GRPO, its configuration with the estimator swapped, and GPO with DAPO's filter.

PPO and LoRA: test_recipes.py; KL and asynchronous GPO: test_training.py.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import verl.trainer
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from tests.e2e.conftest import rolled_out
from tests.e2e.test_training import ARITHMETIC, assert_rollout_and_actor_agree, assert_searched
from verl_gpo.core.advantage import group_advantages

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]
STOCK = (Path(verl.trainer.__file__).with_name("config"), "ppo_trainer")


def trainings(folder):
    anew = "trainer.resume_mode=disable"
    dapo = ["algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=acc"]
    dapo += ["actor_rollout_ref.actor.clip_ratio_high=0.28"]
    return [
        ("grpo", STOCK, 1, ["algorithm.adv_estimator=grpo", anew]),
        ("swap", STOCK, 2, ["algorithm.adv_estimator=gpo", anew]),
        ("dapo", ARITHMETIC, 2, [*dapo, anew]),
    ]


@pytest.mark.parametrize("name, steps", [("grpo", [1]), ("swap", [1, 2]), ("dapo", [1, 2])])
def test_each_training_samples_with_its_own_weights(trained, name, steps):
    """Not with those that the one before it left in the engine."""
    metrics = trained[0][name]
    assert sorted(metrics) == steps
    for step in metrics.values():
        assert_rollout_and_actor_agree(step)


def test_the_estimator_alone_equals_grpo_on_its_batches(trained):
    """One setting swapped in verl's own configuration, without re-entry."""
    runs, folder = trained
    for metrics in (*runs["grpo"].values(), *runs["swap"].values()):
        assert not any(name.startswith("gpo/") for name in metrics)
    assert any(metrics["actor/grad_norm"] > 0 for metrics in runs["swap"].values())

    rows = rolled_out(folder, "swap", 2)
    assert len(rows) == 16
    rewards = torch.zeros(len(rows), 5)
    rewards[:, -1] = torch.tensor([row["score"] for row in rows])
    mask = torch.ones_like(rewards)
    uids = np.array([row["uid"].rsplit("_", 2)[0] for row in rows], dtype=object)
    assert len(set(uids)) == 4
    stock, _ = compute_grpo_outcome_advantage(rewards, mask, uids)
    assert torch.equal(group_advantages(rewards, mask, uids), stock)


def test_dapo_filters_by_the_roots(trained):
    runs, folder = trained
    for step, metrics in runs["dapo"].items():
        assert_searched(metrics)
        outcomes = defaultdict(set)
        for row in rolled_out(folder, "dapo", step):
            uid, session, _ = row["uid"].rsplit("_", 2)
            if int(session) < 4 and not uid.startswith("pad"):
                outcomes[uid].add(row["score"])
        # The roots of each group differ, whatever its re-entry rollouts came to. Unfiltered, one group in six does not.
        assert sorted(map(sorted, outcomes.values())) == [[0.0, 1.0]] * 4
        assert metrics["actor/grad_norm"] > 0
    assert max(metrics["gpo/rollouts/reentry"] for metrics in runs["dapo"].values()) > 0
