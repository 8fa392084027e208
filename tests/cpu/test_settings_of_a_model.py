"""The precision and the micro-batches that the CPU gets. What else is changed: tests/plugin/checks/test_validate.py."""

import json

import pytest
from omegaconf import OmegaConf

from verl_gpo.cpu import detect, settings, sizes

SMOLLM2 = {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49152}
SMOLLM2 |= {"tie_word_embeddings": True}
TINY = {**SMOLLM2, "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "vocab_size": 100}
ACTOR, ROLLOUT, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
MIXED = f"{ACTOR}.fsdp_config.mixed_precision.param_dtype"


@pytest.fixture
def adapted(compose, run_overrides, tmp_path, monkeypatch):
    """``adapted(model's configuration, units, free memory, *overrides)`` gives the configuration and the lines."""

    def adapt(model, units=(), free=16 << 30, *overrides):
        if model is not None:
            (tmp_path / "config.json").write_text(json.dumps(model))
        monkeypatch.setattr(settings, "bfloat16_units", lambda: units)
        monkeypatch.setattr(sizes, "free_memory", lambda: free)
        config = compose(*run_overrides, f"actor_rollout_ref.model.path={tmp_path}", *overrides)
        return config, settings.adapt_to_cpu(config)

    return adapt


@pytest.mark.parametrize(
    "model, units, overrides, expected, reason",
    [
        (SMOLLM2, (), (), "fp32", "this CPU has no bfloat16 units and would emulate it"),
        (SMOLLM2, ("amx_bf16", "avx512_bf16"), (), "bf16", "this CPU has amx_bf16, avx512_bf16"),
        (TINY, ("amx_bf16",), (), "fp32", "too small to gain"),
        (None, ("amx_bf16",), (), "fp32", "of unknown size"),
        (SMOLLM2, ("amx_bf16",), (f"{ROLLOUT}.dtype=float32",), "fp32", f"as {ROLLOUT}.dtype says"),
    ],
)
def test_precision_is_the_one_that_the_cpu_is_made_for(adapted, model, units, overrides, expected, reason):
    config, lines = adapted(model, units, 16 << 30, *overrides)
    assert OmegaConf.select(config, MIXED) == expected
    assert config.actor_rollout_ref.rollout.dtype == {"fp32": "float32", "bf16": "bfloat16"}[expected]
    assert config.actor_rollout_ref.actor.fsdp_config.mixed_precision.reduce_dtype == "fp32"
    said = [line for line in lines if line.startswith(f"{ACTOR}.fsdp_config.mixed_precision: ")]
    assert len(said) == 1 and reason in said[0]


def limits(config):
    values = (
        f"{ACTOR}.ppo_max_token_len_per_gpu",
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu",
        "critic.ppo_max_token_len_per_gpu",
    )
    return [OmegaConf.select(config, key) for key in values]


def test_micro_batches_fill_a_quarter_of_the_memory(adapted):
    checkpointing = f"{MODEL}.enable_gradient_checkpointing"
    config, lines = adapted(SMOLLM2)
    # 4 GiB of 16 over 2,675,712 bytes a token.
    assert limits(config) == [1605, 1605, 1605]
    assert OmegaConf.select(config, checkpointing) is False and f"{checkpointing}: True -> False" in lines
    # No more than a CPU gains from.
    assert limits(adapted(SMOLLM2, (), 1 << 40)[0]) == [4096, 4096, 4096]
    # A smaller limit of the user's is kept.
    own = f"{ACTOR}.ppo_max_token_len_per_gpu=1000"
    assert limits(adapted(SMOLLM2, (), 16 << 30, own)[0]) == [1000, 1000, 1605]


@pytest.mark.parametrize("model, free", [(SMOLLM2, 2 << 30), (None, 16 << 30)])
def test_checkpointing_stays_where_a_row_does_not_fit_or_nothing_is_known(adapted, model, free):
    # A row may have 128 + 96 tokens: 600 MB, more than a quarter of 2 GiB.
    config, _ = adapted(model, (), free)
    assert config.actor_rollout_ref.model.enable_gradient_checkpointing is True
    assert limits(config) == [16384, 16384, 32768]


def test_the_engine_of_the_cpu_is_verls_unless_another_module_is_named(adapted):
    config, _ = adapted(SMOLLM2)
    assert config.actor_rollout_ref.model.external_lib == config.critic.model.external_lib == settings.ENGINE
    config, _ = adapted(SMOLLM2, (), 16 << 30, f"{MODEL}.external_lib=json")
    assert config.actor_rollout_ref.model.external_lib == "json"


def test_a_small_model_keeps_verls_engine_and_rays_one_thread(adapted):
    # What it computes is short: more threads would only wait for each other.
    threads = f"ray_kwargs.ray_init.runtime_env.env_vars.{settings.THREADS}"
    config, _ = adapted(TINY)
    assert config.actor_rollout_ref.model.external_lib is None and OmegaConf.select(config, threads) is None
    config, _ = adapted(SMOLLM2)
    assert OmegaConf.select(config, threads) == str(settings.cores())


@pytest.mark.parametrize(("named", "expected"), [("4", 4), ("", None), ("0", None), ("all", None)])
def test_threads_are_those_that_the_driver_names(monkeypatch, named, expected):
    monkeypatch.setenv(settings.THREADS, named)
    assert detect.threads() == expected


def test_ranks_share_cores_and_memory(adapted, monkeypatch):
    monkeypatch.setattr(settings, "cores", lambda: 64)
    threads = f"ray_kwargs.ray_init.runtime_env.env_vars.{settings.THREADS}"
    for ranks, each in ((1, 64), (8, 8), (48, 1)):
        config, _ = adapted(SMOLLM2, (), 64 << 30, f"trainer.n_gpus_per_node={ranks}")
        assert OmegaConf.select(config, threads) == str(each)
    # 16 GiB of 64, over 8 ranks, over 2,675,712 bytes a token.
    config, _ = adapted(SMOLLM2, (), 64 << 30, "trainer.n_gpus_per_node=8")
    assert limits(config) == [802, 802, 802]
