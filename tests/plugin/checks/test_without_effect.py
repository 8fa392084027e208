"""A setting without effect is refused where it asks for another run, and said to have none elsewhere."""

from dataclasses import fields

import pytest

from verl_gpo.config import BLOCK, ConfigError, GPOConfig
from verl_gpo.core.search import SEARCHES
from verl_gpo.plugin.checks.validate import check
from verl_gpo.plugin.checks.without_effect import MANAGER, MANAGER_KEY, READ, without_effect

STOCK = {"stock": True}
NO_WORKER = "has no effect: verl's own rollout worker neither searches nor re-enters"


def noted(config):
    return without_effect(config, check(config))


# ------------------------------------------------------------------------------- verl's own configuration, with a +


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["algorithm.adv_estimator=gpo", "algorithm.gpo.n_mc=8"], f"{BLOCK}.n_mc=8: {NO_WORKER}"),
        (["algorithm.adv_estimator=gpo"], f"algorithm.adv_estimator='gpo': {NO_WORKER}"),
        (
            ["algorithm.adv_estimator=grpo", "algorithm.gpo.search=adaptive"],
            f"{BLOCK}.search='adaptive': {NO_WORKER}",
        ),
        (["algorithm.adv_estimator=grpo", "algorithm.gpo.preset=fast"], f"{BLOCK}.preset='fast': {NO_WORKER}"),
        (
            ["algorithm.adv_estimator=grpo", "gpo.n_mc=8"],
            "gpo.n_mc=8: nothing reads it; GPO's settings stand in algorithm.gpo",
        ),
        (
            ["actor_rollout_ref.rollout.custom.gpo.n_mc=8"],
            "actor_rollout_ref.rollout.custom.gpo.n_mc=8: nothing reads it; GPO's settings stand in algorithm.gpo",
        ),
        (["algorithm.n_mc=8"], "algorithm.n_mc=8: nothing reads it; did you mean algorithm.gpo.n_mc?"),
    ],
)
def test_a_search_that_would_not_take_place_is_refused(merged, overrides, said):
    with pytest.raises(ConfigError) as refused:
        check(merged(*overrides, **STOCK))
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_what_is_named_as_the_remedy_is_one(merged):
    overrides = ["actor_rollout_ref.rollout.n=2", "algorithm.adv_estimator=gpo", "algorithm.gpo.n_mc=8"]
    assert check(merged(*overrides, f"{MANAGER_KEY}={MANAGER}", **STOCK)).n_mc == 8
    assert not check(merged(*overrides, "algorithm.gpo.enable=false", **STOCK)).enable


def test_a_plain_run_is_left_to_verl(merged):
    for overrides in ([], ["algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.temperature=0"]):
        assert noted(merged(*overrides, **STOCK)) == []


def test_the_worker_of_somebody_else_is_said_to_be_no_search(merged):
    config = merged("algorithm.gpo.n_mc=8", f"{MANAGER_KEY}=my.Manager")
    assert noted(config) == [f"{MANAGER_KEY}=my.Manager: is not GPO's, so no search and no re-entry; not read: n_mc=8"]


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
        (
            ["search=random", "n_mc=8"],
            [f"{BLOCK}.n_mc=8: is read with {BLOCK}.search=uniform, bisection, adaptive, and that is random"],
        ),
        (
            ["search_budget=24"],
            [f"{BLOCK}.search_budget=24: is read with {BLOCK}.search=adaptive, and that is uniform"],
        ),
        (["preset=fast", "search_budget=24", "stop_confidence=0.8"], []),
        (
            ["preset=fast", "max_proposals=3"],
            [f"{BLOCK}.max_proposals=3: is read with {BLOCK}.search=propose, and that is adaptive"],
        ),
        (
            ["preset=lean", "rule=abs"],
            [
                f"{BLOCK}.rule=abs: is read with {BLOCK}.search=uniform, bisection, adaptive, propose, and that is "
                "informative"
            ],
        ),
        (["critical_weight=2"], ["algorithm.gpo.critical_weight=2: is read with algorithm.gpo.learn_from=all"]),
        (["critical_weight=2", "learn_from=all"], []),
        (
            ["trace_every=3"],
            ["algorithm.gpo.trace_every=3: is read where traces are written, with algorithm.gpo.trace_dir"],
        ),
        (["trace_every=3", "trace_dir=/tmp/t"], []),
        (
            ["search=none", "n_reentry=2"],
            ["algorithm.gpo.n_reentry=2: is read with any algorithm.gpo.search that re-enters, and that is none"],
        ),
        (["enable=false", "n_mc=8"], ["algorithm.gpo.enable=false: no search and no re-entry; not read: n_mc=8"]),
        (["enable=false"], []),
    ],
)
def test_a_field_that_is_not_read_is_noted(merged, overrides, notes):
    assert noted(merged(*(f"{BLOCK}.{item}" for item in overrides))) == notes


def test_a_presets_own_fields_are_not_held_against_the_user(merged):
    assert noted(merged("algorithm.gpo.preset=fast", "algorithm.gpo.search=uniform")) == []


def test_the_table_names_fields_and_each_is_read_by_some_search():
    assert set(READ) <= {option.name for option in fields(GPOConfig)}
    everything = {"learn_from": "all", "trace_dir": "t"}
    for name, (_, read) in READ.items():
        assert any(read(GPOConfig.from_mapping({"search": search, **everything})) for search in SEARCHES), name
    nothing = GPOConfig.from_mapping({"search": "none"})
    assert not any(read(nothing) for _, read in READ.values())


# ------------------------------------------------------------------------------------------------- verl's own fields


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (
            ["actor_rollout_ref.actor.grad_clip=0.2"],
            "actor_rollout_ref.actor.grad_clip=0.2: verl 0.9.1 does not read it; "
            "actor_rollout_ref.actor.optim.clip_grad is what counts",
        ),
        (
            ["algorithm.filter_groups.enable=true", "algorithm.filter_groups.max_num_gen_batches=10"],
            "algorithm.filter_groups.max_num_gen_batches=10: verl's v1 trainer does not read it; it has "
            "max_inflight_gen_batches",
        ),
        (
            ["algorithm.gpoo.n_mc=8"],
            "algorithm.gpoo={'n_mc': 8}: verl's configuration has no such key; only code that asks for it by name "
            "reads it",
        ),
        (
            ["trainer.total_epoch=1"],
            "trainer.total_epoch=1: verl's configuration has no such key; only code that asks for it by name reads it",
        ),
        (
            ["trainer.v1.sampler.custom_sampler.name=null"],
            "trainer.v1.sampler.custom_sampler.name=None: without build_replay_buffer there are no gpo/* metrics",
        ),
    ],
)
def test_what_verl_does_not_read_is_noted(merged, overrides, note):
    assert noted(merged(*overrides)) == [note]
