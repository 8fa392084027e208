"""A configuration for GPUs, adapted to the CPU: every change is said, and nothing else is changed."""

import pytest
from omegaconf import OmegaConf

from tests.conftest import flattened
from verl_gpo.cpu import settings
from verl_gpo.cpu.settings import adapt_to_cpu

ROLLOUT = "actor_rollout_ref.rollout"


def test_adaptation_changes_what_it_says_and_nothing_else(compose, run_overrides):
    config = compose(*run_overrides)
    before = flattened(config)
    said = [line.partition(": ")[0] for line in adapt_to_cpu(config)]
    after = flattened(config)
    changed = {key for key in before.keys() | after.keys() if before.get(key, "-") != after.get(key, "-")}
    # A key that is said may be a block, of which each leaf is new; an empty block that was filled is gone.
    unsaid = {key for key in changed if not any(f"{key}.".startswith(f"{name}.") for name in said)}
    assert {key for key in unsaid if not any(name.startswith(f"{key}.") for name in said)} == set()
    unchanged = [name for name in said if not any(f"{key}.".startswith(f"{name}.") for key in changed)]
    assert unchanged == [] and len(said) == len(set(said))


def test_adaptation_by_hand(compose, run_overrides, monkeypatch):
    monkeypatch.setattr(settings, "cores", lambda: 2)
    config = compose(*run_overrides, "trainer.n_gpus_per_node=8", f"{ROLLOUT}.tensor_model_parallel_size=4")
    lines = adapt_to_cpu(config)
    assert "trainer.n_gpus_per_node: 8 -> 1 (this host has 2 cores; a rank computes on one at least)" in lines
    assert f"{ROLLOUT}.tensor_model_parallel_size: 4 -> 1" in lines
    assert "actor_rollout_ref.model.override_config.attn_implementation: None -> sdpa" in lines
    assert f"{ROLLOUT}.engine_kwargs.vllm.block_size: default -> 16" in lines
    expected = {
        "trainer.device": "cpu",
        "trainer.nnodes": 1,
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype": "fp32",
        "actor_rollout_ref.model.use_remove_padding": False,
        f"{ROLLOUT}.dtype": "float32",
        f"{ROLLOUT}.free_cache_engine": False,
        "ray_kwargs.ray_init.runtime_env.env_vars.VERL_ENGINE_DEVICE": "cuda",
        "ray_kwargs.ray_init.num_cpus": 8,
        "ray_kwargs.ray_init.num_gpus": 1,
    }
    assert {key: OmegaConf.select(config, key) for key in expected} == expected


def test_no_rank_shares_its_rows_with_another(compose, run_overrides):
    """The check of verl's own for it would ask for packed rows, which a CPU has no kernels for."""
    from verl.trainer.main_ppo import validate_config

    keys = ("actor", "actor.fsdp_config", "ref.fsdp_config")
    keys = [f"actor_rollout_ref.{key}.ulysses_sequence_parallel_size" for key in keys]
    config = compose(*run_overrides, *(f"{key}=2" for key in keys), f"{ROLLOUT}.data_parallel_size=2")
    lines = adapt_to_cpu(config)
    assert [f"{key}: 2 -> 1" in lines for key in keys] == [
        True
    ] * 3 and f"{ROLLOUT}.data_parallel_size: 2 -> 1" in lines
    assert [OmegaConf.select(config, key) for key in keys] == [1] * 3
    validate_config.__wrapped__(config, use_reference_policy=False, use_critic=False)


def test_adaptation_is_done_once(compose, run_overrides):
    config = compose(*run_overrides)
    assert adapt_to_cpu(config)
    before = flattened(config)
    assert adapt_to_cpu(config) == [] and flattened(config) == before


def test_smaller_values_and_the_users_engine_settings_are_kept(compose, run_overrides):
    bucket = f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes"
    config = compose(*run_overrides, f"{bucket}=64", f"+{ROLLOUT}.engine_kwargs.vllm.block_size=32")
    lines = adapt_to_cpu(config)
    assert not [line for line in lines if "bucket" in line or "block_size" in line]
    assert OmegaConf.select(config, bucket) == 64
    assert OmegaConf.select(config, f"{ROLLOUT}.engine_kwargs.vllm.block_size") == 32
    large = compose(*run_overrides, f"{bucket}=4096")
    assert f"{bucket}: 4096 -> 256" in adapt_to_cpu(large)


def test_a_configuration_without_a_critic_gets_none(compose, run_overrides):
    config = compose(*run_overrides)
    OmegaConf.set_struct(config, False)
    del config["critic"]
    adapt_to_cpu(config)
    assert "critic" not in config


@pytest.mark.parametrize(("cpus", "most"), [(1, 1), (4, 1), (8, 2), (64, 16), (None, 1)])
def test_workers_are_at_most_a_quarter_of_the_cpus(compose, run_overrides, monkeypatch, cpus, most):
    monkeypatch.setattr(settings, "cores", lambda: cpus or 1)
    config = compose(
        *run_overrides, f"{ROLLOUT}.agent.num_workers=12", "reward.num_workers=1", "trainer.n_gpus_per_node=1"
    )
    lines = adapt_to_cpu(config)
    assert config.reward.num_workers == 1  # a smaller number is kept
    assert OmegaConf.select(config, f"{ROLLOUT}.agent.num_workers") == min(12, most)
    assert (f"{ROLLOUT}.agent.num_workers: 12 -> {most}" in lines) == (most < 12)


@pytest.mark.parametrize(("cpus", "asked", "ranks"), [(2, 2, 2), (64, 8, 8), (64, 1, 1), (2, 3, 1), (7, 8, 1)])
def test_as_many_ranks_as_are_asked_for_where_each_has_a_core(compose, run_overrides, monkeypatch, cpus, asked, ranks):
    monkeypatch.setattr(settings, "cores", lambda: cpus)
    config = compose(*run_overrides, f"trainer.n_gpus_per_node={asked}", "trainer.nnodes=4")
    lines = adapt_to_cpu(config)
    trainer, ray = config.trainer, config.ray_kwargs.ray_init
    assert (trainer.n_gpus_per_node, trainer.nnodes, ray.num_gpus) == (ranks, 1, ranks)
    assert ray.num_cpus == 3 * ranks + 5  # for one rank eight, as ever
    said = [line for line in lines if line.startswith("trainer.n_gpus_per_node: ")]
    reason = f"(this host has {cpus} cores; a rank computes on one at least)"
    assert said == ([] if ranks == asked else [f"trainer.n_gpus_per_node: {asked} -> 1 {reason}"])
    # Verl starts 8 workers by default: a rank has one at least, and a host with many cores more.
    assert OmegaConf.select(config, f"{ROLLOUT}.agent.num_workers") == min(8, max(ranks, cpus // 4))


def test_the_ranks_of_a_cluster_are_left_to_its_nodes(compose, run_overrides):
    shape = ("trainer.n_gpus_per_node=3", "trainer.nnodes=2")
    config = compose(*run_overrides, *shape)
    lines = adapt_to_cpu(config, joined=True)
    assert (config.trainer.n_gpus_per_node, config.trainer.nnodes) == (3, 2)
    assert OmegaConf.select(config, f"{ROLLOUT}.agent.num_workers") == 6
    assert not [line for line in lines if line.startswith(("trainer.n", "ray_kwargs.ray_init.num"))]
