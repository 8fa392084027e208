"""A GPU configuration, made to run on the CPU.

Recipes are written once, for GPUs. Where the driver finds no accelerator, the settings below are changed before Ray
starts, and each change is printed; nothing else of the configuration is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

_FP32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"

#: CPUs that Ray has to believe in: 3 for the worker group's bundle, one each for the task runner, TransferQueue's
#: controller and its storage unit, the rest for placing actors. With fewer, TransferQueue waits for ever (verl #7656);
#: with more, Ray starts idle processes at once.
_LOGICAL_CPUS = 8

#: vLLM's own settings, where the user left its default.
_ENGINE_DEFAULTS = {
    # A prefix is cached in whole blocks, and 128 tokens, the default on CPUs, is longer than a small task's prefixes.
    "block_size": 16,
    # One worker needs no process of its own.
    "distributed_executor_backend": "uni",
}


def _at_most(limit: int) -> Callable[[Any], Any]:
    return lambda value: min(value, limit) if isinstance(value, int) else limit


def _changes() -> list[tuple[str, Any]]:
    """(key, new value or function of the old one), and why."""
    workers = max(1, (os.cpu_count() or 1) // 4)
    changes: list[tuple[str, Any]] = [
        ("trainer.device", "cpu"),
        # One logical device: verl's worker groups and vLLM's tensor parallelism would otherwise ask for more.
        ("trainer.n_gpus_per_node", 1),
        ("trainer.nnodes", 1),
        (f"{_ROLLOUT}.tensor_model_parallel_size", 1),
        # Kernels that exist for GPUs only.
        ("actor_rollout_ref.model.use_remove_padding", False),
        ("actor_rollout_ref.model.override_config.attn_implementation", "sdpa"),
        ("critic.model.use_remove_padding", False),
        ("critic.model.override_config.attn_implementation", "sdpa"),
        # torch.compile costs a minute of start-up here and saves nothing at this size.
        (f"{_ACTOR}.use_torch_compile", False),
        (f"{_ACTOR}.fsdp_config.use_torch_compile", False),
        ("actor_rollout_ref.ref.fsdp_config.use_torch_compile", False),
        ("critic.fsdp.use_torch_compile", False),
        (f"{_ROLLOUT}.enforce_eager", True),
        # FSDP1 needs a device with streams.
        (f"{_ACTOR}.strategy", "fsdp2"),
        ("critic.strategy", "fsdp2"),
        # Most CPUs only emulate bfloat16; and in float32 rollout and actor agree to rounding.
        (f"{_ROLLOUT}.dtype", "float32"),
        (f"{_ACTOR}.fsdp_config.mixed_precision", _FP32),
        ("actor_rollout_ref.ref.fsdp_config.mixed_precision", _FP32),
        ("critic.fsdp.mixed_precision", _FP32),
        # vLLM's sleep mode frees GPU memory; there is none.
        (f"{_ROLLOUT}.free_cache_engine", False),
        (f"{_ROLLOUT}.enable_sleep_mode", False),
        # The weights' bucket is a file in shared memory.
        (f"{_ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes", _at_most(256)),
        # Each of these is a process that imports torch and verl: 15 to 30 s of CPU time.
        (f"{_ROLLOUT}.agent.num_workers", _at_most(workers)),
        ("reward.num_workers", _at_most(workers)),
        ("transfer_queue.backend.SimpleStorage.num_data_storage_units", 1),
        ("data.dataloader_num_workers", 0),
        ("ray_kwargs.ray_init.runtime_env.env_vars.VERL_PLATFORM", "cpu"),
    ]
    return changes


#: Of a Ray that is started here; one that is joined takes none of them.
_OWN_RAY: list[tuple[str, Any]] = [
    ("ray_kwargs.ray_init.num_cpus", _LOGICAL_CPUS),
    ("ray_kwargs.ray_init.num_gpus", 1),
    ("ray_kwargs.ray_init.include_dashboard", False),
]


def adapt_to_cpu(config: DictConfig, joined: bool = False) -> list[str]:
    """Change ``config`` in place so that it runs on a CPU.

    Args:
        config: verl's.
        joined: it is one of a Ray cluster that is there already; otherwise this host's.

    Returns:
        One line ``key: old -> new`` for each setting that changed.
    """
    lines = []
    with open_dict(config):
        for key, value in _changes() + ([] if joined else _OWN_RAY):
            parent = key.rpartition(".")[0]
            if parent.startswith("critic") and OmegaConf.select(config, parent) is None:
                continue
            old = OmegaConf.select(config, key)
            new = value(old) if callable(value) else value
            if old != new:
                OmegaConf.update(config, key, new, force_add=True, merge=False)
                lines.append(f"{key}: {old} -> {new}")
        for name, value in _ENGINE_DEFAULTS.items():
            key = f"{_ROLLOUT}.engine_kwargs.vllm.{name}"
            if OmegaConf.select(config, key) is None:
                OmegaConf.update(config, key, value, force_add=True)
                lines.append(f"{key}: default -> {value}")
    return lines
