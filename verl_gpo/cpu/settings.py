"""A GPU configuration, made to run on the CPU.

Recipes are written once, for GPUs. Where the driver finds no accelerator, the settings below are changed before Ray
starts, and each change is printed; nothing else of the configuration is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from . import sizes
from .detect import THREADS, bfloat16_units, cores, own_engine_wanted
from .ranks import logical_cpus, ranks_on, share

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"

#: vLLM's own settings, where the user left its default.
_ENGINE_DEFAULTS = {
    # A prefix is cached in whole blocks, and 128 tokens, the default on CPUs, is longer than a small task's prefixes.
    "block_size": 16,
    # One worker needs no process of its own.
    "distributed_executor_backend": "uni",
}

#: Where a configuration has the number of ranks that share a row; those without an engine's name are the old place.
_SEQUENCES = (
    *(_ACTOR, f"{_ACTOR}.fsdp_config", "actor_rollout_ref.ref", "actor_rollout_ref.ref.fsdp_config"),
    *("critic", "critic.fsdp"),
)

#: What makes verl use the CPU's engine.
ENGINE = "verl_gpo.cpu.engine"


def _unless_given(new: Any) -> Callable[[Any], Any]:
    return lambda value: new if value is None else value


def _at_most(limit: int) -> Callable[[Any], Any]:
    return lambda value: min(value, limit) if isinstance(value, int) else limit


def _one_if_given(value: Any) -> Any:
    return None if value is None else 1


def _changes(ranks: int) -> list[tuple[str, Any]]:
    """(key, new value or function of the old one), and why.

    Args:
        ranks: number of ranks of all nodes.
    """
    changes: list[tuple[str, Any]] = [
        ("trainer.device", "cpu"),
        # A replica is one process, and each rank has its own.
        *((f"{_ROLLOUT}.{kind}_parallel_size", 1) for kind in ("tensor_model", "data", "pipeline_model")),
        # Ranks that compute parts of one row need packed rows, and kernels for GPUs.
        *((f"{block}.ulysses_sequence_parallel_size", _one_if_given) for block in _SEQUENCES),
        # Kernels that exist for GPUs only. The engine below has its own way to do without padding.
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
        # vLLM's sleep mode frees GPU memory; there is none.
        (f"{_ROLLOUT}.free_cache_engine", False),
        (f"{_ROLLOUT}.enable_sleep_mode", False),
        # The weights' bucket is a file in shared memory.
        (f"{_ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes", _at_most(256)),
        # Each of these is a process that imports torch and verl: 15 to 30 s of CPU time.
        (f"{_ROLLOUT}.agent.num_workers", _at_most(max(cores() // 4, ranks))),
        ("reward.num_workers", _at_most(max(cores() // 4, 1))),
        ("transfer_queue.backend.SimpleStorage.num_data_storage_units", 1),
        ("data.dataloader_num_workers", 0),
        ("ray_kwargs.ray_init.runtime_env.env_vars.VERL_PLATFORM", "cpu"),
        # verl registers no engine for "cpu". A forked worker of a cluster has nobody else to learn this from.
        ("ray_kwargs.ray_init.runtime_env.env_vars.VERL_ENGINE_DEVICE", "cuda"),
    ]
    return changes


def _own_ray(ranks: int) -> list[tuple[str, Any]]:
    """Of a run that starts Ray on this host; a cluster that is joined has its nodes, and takes no such settings."""
    return [
        # verl's name for a rank's place is a GPU.
        ("trainer.n_gpus_per_node", ranks),
        ("trainer.nnodes", 1),
        ("ray_kwargs.ray_init.num_cpus", logical_cpus(ranks)),
        ("ray_kwargs.ray_init.num_gpus", ranks),
        ("ray_kwargs.ray_init.include_dashboard", False),
    ]


#: A smaller model gains nothing from bfloat16, nor from more threads: what it computes is short, and threads that wait
#: for each other take the cores from the processes around it.
_LARGE = 50_000_000

#: Tokens of a micro-batch, beyond which a CPU gets no faster, and the share of the free memory that one may fill.
_MICRO_BATCH_TOKENS, _MEMORY_SHARE = 4096, 0.25


def _precision(config: DictConfig, shape: sizes.Shape | None) -> tuple[list[tuple[str, Any]], str]:
    """The changes for the precision that rollout and training have, and why it is that."""
    units = bfloat16_units()
    if not units:
        why, half = "this CPU has no bfloat16 units and would emulate it", False
    elif OmegaConf.select(config, f"{_ROLLOUT}.dtype") == "float32":
        why, half = f"as {_ROLLOUT}.dtype says", False
    elif shape is None or shape.parameters < _LARGE:
        why, half = "the model is too small to gain from bfloat16, or of unknown size", False
    else:
        why, half = f"this CPU has {', '.join(units)}", True
    mixed = {"param_dtype": "bf16" if half else "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    blocks = (f"{_ACTOR}.fsdp_config", "actor_rollout_ref.ref.fsdp_config", "critic.fsdp")
    changes = [(f"{_ROLLOUT}.dtype", "bfloat16" if half else "float32")]
    return [*changes, *((f"{block}.mixed_precision", mixed) for block in blocks)], why


def _is_large(shape: sizes.Shape | None) -> bool:
    return shape is not None and shape.parameters >= _LARGE and own_engine_wanted()


def _engine(shape: sizes.Shape | None, ranks: int) -> list[tuple[str, Any]]:
    """verl imports it with the model; a module of your own leaves verl's engine as it is."""
    if not _is_large(shape):
        return []
    keys = ("actor_rollout_ref.model.external_lib", "critic.model.external_lib")
    threads = (f"ray_kwargs.ray_init.runtime_env.env_vars.{THREADS}", str(share(cores(), ranks)))
    return [threads, *((key, _unless_given(ENGINE)) for key in keys)]


def _memory(config: DictConfig, shape: sizes.Shape | None, ranks: int) -> list[tuple[str, Any]]:
    """Micro-batches that fit into memory without recomputing the forward pass, where such are possible."""
    if not _is_large(shape):
        return []
    data = config.data
    longest = data.max_prompt_length + data.max_response_length
    affordable = int(_MEMORY_SHARE * sizes.free_memory() / ranks / shape.bytes_of_token)
    if affordable < longest:
        return []
    limit = _at_most(max(longest, min(affordable, _MICRO_BATCH_TOKENS)))
    # Those that follow another setting come before it: each is then said.
    return [
        (f"{_ROLLOUT}.log_prob_max_token_len_per_gpu", limit),
        ("actor_rollout_ref.ref.log_prob_max_token_len_per_gpu", limit),
        (f"{_ACTOR}.ppo_max_token_len_per_gpu", limit),
        ("critic.forward_max_token_len_per_gpu", limit),
        ("critic.ppo_max_token_len_per_gpu", limit),
        ("actor_rollout_ref.model.enable_gradient_checkpointing", False),
        ("critic.model.enable_gradient_checkpointing", False),
    ]


def adapt_to_cpu(config: DictConfig, joined: bool = False) -> list[str]:
    """Change ``config`` in place so that it runs on a CPU.

    Args:
        config: verl's.
        joined: it is one of a Ray cluster that is there already; otherwise this host's.

    Returns:
        One line ``key: old -> new`` for each setting that changed; behind those of the precision, why it is that.
    """
    shape = sizes.read(OmegaConf.select(config, "actor_rollout_ref.model.path"))
    precision, why = _precision(config, shape)
    reasons = {key: f" ({why})" for key, _ in precision}
    # Of one node: those of a cluster are taken for hosts like this one.
    ranks, nodes = config.trainer.n_gpus_per_node, config.trainer.nnodes
    if not joined:
        ranks, nodes = ranks_on(cores(), ranks), 1
        reasons["trainer.n_gpus_per_node"] = f" (this host has {cores()} cores; a rank computes on one at least)"
    own = [] if joined else _own_ray(ranks)
    changes = [*_changes(ranks * nodes), *own, *_engine(shape, ranks), *precision, *_memory(config, shape, ranks)]
    lines = []
    with open_dict(config):
        for key, value in changes:
            parent = key.rpartition(".")[0]
            if parent.startswith("critic") and OmegaConf.select(config, parent) is None:
                continue
            old = OmegaConf.select(config, key)
            new = value(old) if callable(value) else value
            if old != new:
                OmegaConf.update(config, key, new, force_add=True, merge=False)
                lines.append(f"{key}: {old} -> {new}{reasons.get(key, '')}")
        for name, value in _ENGINE_DEFAULTS.items():
            key = f"{_ROLLOUT}.engine_kwargs.vllm.{name}"
            if OmegaConf.select(config, key) is None:
                OmegaConf.update(config, key, value, force_add=True)
                lines.append(f"{key}: default -> {value}")
    return lines
