"""A setting without effect is refused where it asks for another run, and said to have none elsewhere."""

import pytest

from verl_gpo.config import BLOCK, ConfigError
from verl_gpo.plugin.checks.validate import check
from verl_gpo.plugin.checks.without_effect import MANAGER, MANAGER_KEY, without_effect

STOCK = {"stock": True}
NO_WORKER = "has no effect: verl's own rollout worker neither searches nor re-enters"


def noted(config):
    return without_effect(config, check(config))


# ------------------------------------------------------------------------------- verl's own configuration, with a +


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["algorithm.adv_estimator=gpo", "algorithm.gpo.n_mc=8"], f"{BLOCK}.n_mc=8: {NO_WORKER}"),
        (
            ["algorithm.adv_estimator=grpo", "algorithm.gpo.search=adaptive"],
            f"{BLOCK}.search='adaptive': {NO_WORKER}",
        ),
        (["algorithm.adv_estimator=grpo", "algorithm.gpo.preset=fast"], f"{BLOCK}.preset='fast': {NO_WORKER}"),
        (
            ["algorithm.adv_estimator=grpo", "gpo.n_mc=8"],
            "gpo.n_mc=8: nothing reads it; GPO's settings are in algorithm.gpo",
        ),
        (
            ["actor_rollout_ref.rollout.custom.gpo.n_mc=8"],
            "actor_rollout_ref.rollout.custom.gpo.n_mc=8: nothing reads it; GPO's settings are in algorithm.gpo",
        ),
        (["algorithm.n_mc=8"], "algorithm.n_mc=8: nothing reads it; did you mean algorithm.gpo.n_mc?"),
    ],
)
def test_a_search_that_would_not_take_place_is_refused(merged, overrides, said):
    with pytest.raises(ConfigError) as refused:
        check(merged(*overrides, **STOCK))
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_the_estimator_alone_is_a_way_to_use_gpo(merged):
    # Without re-entry rows it is its base estimator; so it is swapped into a run. Its own settings are read.
    two = "actor_rollout_ref.rollout.n=2"
    assert check(merged(two, "algorithm.adv_estimator=gpo", **STOCK)).base_estimator == "grpo"
    own = [two, "algorithm.adv_estimator=gpo", "algorithm.gpo.base_estimator=rloo"]
    assert check(merged(*own, **STOCK)).base_estimator == "rloo"


def test_what_is_named_as_the_remedy_is_one(merged):
    overrides = ["actor_rollout_ref.rollout.n=2", "algorithm.adv_estimator=gpo", "algorithm.gpo.n_mc=8"]
    assert check(merged(*overrides, f"{MANAGER_KEY}={MANAGER}", **STOCK)).n_mc == 8
    assert not check(merged(*overrides, "algorithm.gpo.enable=false", **STOCK)).enable


def test_a_plain_run_is_left_to_verl(merged):
    for overrides in ([], ["algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.temperature=0"]):
        assert noted(merged(*overrides, **STOCK)) == []


def test_the_worker_of_somebody_else_is_said_to_be_no_search(merged):
    config = merged("algorithm.gpo.n_mc=8", f"{MANAGER_KEY}=my.Manager")
    assert noted(config) == [
        f"{MANAGER_KEY}=my.Manager: is not GPO's manager, so no search and no re-entry; not read: n_mc=8"
    ]


# ------------------------------------------------------------------------------------------- keys of an older verl


@pytest.mark.parametrize(
    ("override", "key", "instead"),
    [
        (
            "custom_reward_function.path=r.py",
            "custom_reward_function.path='r.py'",
            "reward.custom_reward_function.path",
        ),
        ("reward_model.reward_manager=dapo", "reward_model.reward_manager='dapo'", "reward.reward_manager.name"),
        ("reward_model.enable=true", "reward_model.enable=True", "reward.reward_model.enable"),
        ("reward_model.num_workers=2", "reward_model.num_workers=2", "reward.num_workers"),
        ("reward_model.model.path=rm", "reward_model.model.path='rm'", "reward.reward_model.model_path"),
        ("reward_model.rollout.name=vllm", "reward_model.rollout.name='vllm'", "reward.reward_model.rollout.name"),
        ("reward_model.reward_kwargs.a=1", "reward_model.reward_kwargs.a=1", "reward.reward_kwargs.a"),
        ("sandbox_fusion.url=http://x", "sandbox_fusion.url='http://x'", "reward.sandbox_fusion.url"),
    ],
)
def test_a_reward_that_verl_would_not_read_is_refused(merged, override, key, instead):
    with pytest.raises(ConfigError) as refused:
        check(merged(override))
    assert str(refused.value) == f"{key}: verl 0.9.1 does not read it; set {instead}"
    # A run that has nothing to do with GPO is not stopped, but told.
    (line,) = noted(merged("algorithm.adv_estimator=grpo", override, **STOCK))
    assert line.endswith(f": verl 0.9.1 does not read it; it has {instead}")


def test_the_keys_that_verl_has_in_their_place_exist(merged):
    from omegaconf import OmegaConf

    config = merged()
    for key in ("custom_reward_function.path", "reward_manager.name", "reward_model.model_path", "sandbox_fusion.url"):
        parent, _, name = f"reward.{key}".rpartition(".")
        assert name in OmegaConf.select(config, parent)


# ------------------------------------------------------------------------------------------------- GPO's own fields


@pytest.mark.parametrize(
    ("overrides", "notes"),
    [
        ([], []),
        (["preset=fast", "search_budget=24"], []),
        (["enable=false", "n_mc=8"], [f"{BLOCK}.enable=false: no search and no re-entry; not read: n_mc=8"]),
        (["enable=false", "preset=fast"], []),
    ],
)
def test_what_a_run_without_a_search_does_not_read_is_noted(merged, overrides, notes):
    assert noted(merged(*(f"{BLOCK}.{item}" for item in overrides))) == notes


# ------------------------------------------------------------------------------------------------- verl's own fields


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (
            ["actor_rollout_ref.actor.grad_clip=0.2"],
            "actor_rollout_ref.actor.grad_clip=0.2: verl 0.9.1 does not read it; "
            "it reads actor_rollout_ref.actor.optim.clip_grad",
        ),
        (
            ["algorithm.filter_groups.enable=true", "algorithm.filter_groups.max_num_gen_batches=10"],
            "algorithm.filter_groups.max_num_gen_batches=10: verl's v1 trainer does not read it; it has "
            "max_inflight_gen_batches",
        ),
        (
            ["algorithm.gpoo.n_mc=8"],
            "algorithm.gpoo={'n_mc': 8}: verl's configuration has no such key; only code that uses it by name reads it",
        ),
        (
            ["trainer.total_epoch=1"],
            "trainer.total_epoch=1: verl's configuration has no such key; only code that uses it by name reads it",
        ),
        (
            ["trainer.v1.sampler.custom_sampler.name=null"],
            "trainer.v1.sampler.custom_sampler.name=None: without build_replay_buffer there are no gpo/* metrics",
        ),
    ],
)
def test_what_verl_does_not_read_is_noted(merged, overrides, note):
    assert noted(merged(*overrides)) == [note]
