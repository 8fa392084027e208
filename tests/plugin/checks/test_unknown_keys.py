"""A key that verl would stumble over after Ray has started is refused before it."""

import pytest

from verl_gpo.config import ConfigError
from verl_gpo.plugin.checks.unknown_keys import check_known


@pytest.mark.parametrize("engine", ["dp", "megatron"])
def test_verls_own_configuration_passes(compose, engine):
    check_known(compose(f"model_engine={engine}"))


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("+actor_rollout_ref.rollout.enfroce_eager=true", "enforce_eager"),
        ("+actor_rollout_ref.actor.optim.lrr=1e-6", "lr"),
        ("+actor_rollout_ref.actor.fsdp_config.param_ofload=true", "param_offload"),
        ("+critic.clip_range_value=0.5", "cliprange_value"),
        ("+actor_rollout_ref.rollout.val_kwargs.temprature=1", "temperature"),
    ],
)
def test_a_typo_behind_a_plus_is_refused_by_name(compose, override, meant):
    key = override[1:].partition("=")[0]
    with pytest.raises(ConfigError, match=f"^{key}=.*did you mean {meant}\\?"):
        check_known(compose(override))


@pytest.mark.parametrize(
    "override",
    [
        "+actor_rollout_ref.rollout.enable_sleep_mode=false",  # a field that verl's YAML does not list
        "+actor_rollout_ref.rollout.engine_kwargs.vllm.block_size=16",  # open blocks
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        "+algorithm.of_my_estimator=1",
        "+reward.reward_kwargs.max_resp_len=96",
        "+trainer.wandb_proxy=http://localhost",
    ],
)
def test_what_verl_reads_may_be_added(compose, override):
    check_known(compose(override))
