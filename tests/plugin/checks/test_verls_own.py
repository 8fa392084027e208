"""verl's own checks without a run: what it takes, and what it refuses in one line."""

import pytest

from verl_gpo.plugin.checks.verls_own import verl_refuses


def test_what_verl_takes(merged):
    config = merged("actor_rollout_ref.actor.ppo_mini_batch_size=4", "actor_rollout_ref.actor.use_dynamic_bsz=true")
    before = config.copy()
    assert verl_refuses(config) is None
    assert config == before  # it looks at a copy


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("actor_rollout_ref.actor.loss_agg_mode=mean", "Invalid loss_agg_mode: mean"),
        ("actor_rollout_ref.actor.zzz=1", "actor_rollout_ref.actor.zzz"),
    ],
)
def test_what_verl_refuses(merged, override, said):
    mini = ("actor_rollout_ref.actor.ppo_mini_batch_size=4", "actor_rollout_ref.actor.use_dynamic_bsz=true")
    reason = verl_refuses(merged(*mini, override))
    assert reason is not None and said in reason and "\n" not in reason
