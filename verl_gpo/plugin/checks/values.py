"""Values of verl's own settings that cannot work, which verl would refuse minutes after the start, or never."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...config import ConfigError

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _texts(value: Any) -> bool:
    return bool(value) and all(
        isinstance(item, str) and item for item in ([value] if isinstance(value, str) else value)
    )


_COUNT = ("must be an integer of at least 1", _count)
_COUNT_OR_NULL = ("must be an integer of at least 1, or null", lambda value: value is None or _count(value))
_TEXT = ("must be given", lambda value: isinstance(value, str) and bool(value))

#: Key -> (what is allowed, the test).
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "data.train_files": ("must be a parquet file, or a list of them", _texts),
    "data.val_files": ("must be a parquet file, or a list of them", _texts),
    "data.train_batch_size": _COUNT,
    "data.max_prompt_length": _COUNT,
    "data.max_response_length": _COUNT,
    "actor_rollout_ref.model.path": _TEXT,
    f"{_ACTOR}.ppo_mini_batch_size": _COUNT,
    f"{_ACTOR}.ppo_epochs": _COUNT,
    f"{_ACTOR}.optim.lr": ("must be a number of at least 0", lambda value: _number(value) and value >= 0),
    f"{_ROLLOUT}.name": ("must be the name of a rollout engine, such as vllm or sglang", _TEXT[1]),
    f"{_ROLLOUT}.n": _COUNT,
    f"{_ROLLOUT}.temperature": (
        "must be a number above 0: otherwise all rollouts of a prompt are the same",
        lambda value: _number(value) and value > 0,
    ),
    f"{_ROLLOUT}.top_p": ("must be a number above 0 and at most 1", lambda value: _number(value) and 0 < value <= 1),
    f"{_ROLLOUT}.gpu_memory_utilization": (
        "must be a number above 0 and at most 1",
        lambda value: _number(value) and 0 < value <= 1,
    ),
    f"{_ROLLOUT}.tensor_model_parallel_size": _COUNT,
    f"{_ROLLOUT}.data_parallel_size": _COUNT,
    f"{_ROLLOUT}.pipeline_model_parallel_size": _COUNT,
    f"{_ROLLOUT}.max_model_len": _COUNT_OR_NULL,
    f"{_ROLLOUT}.max_num_seqs": _COUNT_OR_NULL,
    f"{_ROLLOUT}.max_num_batched_tokens": _COUNT_OR_NULL,
    "trainer.n_gpus_per_node": _COUNT,
    "trainer.nnodes": _COUNT,
    "trainer.total_epochs": _COUNT,
    "trainer.total_training_steps": _COUNT_OR_NULL,
    "trainer.logger": ("must be the name of a logger, or a list of them", _texts),
    "trainer.resume_mode": (
        "must be one of auto, disable, resume_path",
        lambda value: value in ("auto", "disable", "resume_path"),
    ),
}


def check_values(config: DictConfig) -> None:
    """Refuse values that cannot work on any host.

    Raises:
        ConfigError: the key, the value, what is allowed.
    """
    for key, (allowed, accepts) in _RULES.items():
        value = OmegaConf.select(config, key)  # None where it is missing (???)
        if not accepts(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value):
            raise ConfigError(key, value, allowed)
    _check_lengths(config)
    _check_resume_path(config)


def _check_lengths(config: DictConfig) -> None:
    """Refuse a context length that leaves no room for a prompt.

    One that is shorter than the longest prompt and response together is no mistake: prompts may be shorter.
    """
    key = f"{_ROLLOUT}.max_model_len"
    context = OmegaConf.select(config, key)
    response = OmegaConf.select(config, "data.max_response_length")
    if context is not None and context <= response:
        raise ConfigError(
            key, context, f"must be above {response}, data.max_response_length: a prompt needs room as well"
        )


def _check_resume_path(config: DictConfig) -> None:
    path = OmegaConf.select(config, "trainer.resume_from_path")
    if OmegaConf.select(config, "trainer.resume_mode") != "resume_path":
        if path is not None:
            raise ConfigError("trainer.resume_from_path", path, "is read with trainer.resume_mode=resume_path only")
    elif not isinstance(path, str) or not path.rpartition("global_step_")[2].rstrip("/").isdigit():
        raise ConfigError(
            "trainer.resume_from_path", path, "must be a checkpoint's folder, .../global_step_N, to resume from"
        )


def check_gpus(config: DictConfig) -> None:
    """Refuse a number of GPUs that cannot be divided among engines: verl would leave some GPUs, or all, unused.

    Raises:
        ConfigError: the number of GPUs, and what has to divide it.
    """
    gpus = OmegaConf.select(config, "trainer.n_gpus_per_node") * OmegaConf.select(config, "trainer.nnodes")
    kinds = ("tensor_model", "data", "pipeline_model")
    size = math.prod(OmegaConf.select(config, f"{_ROLLOUT}.{kind}_parallel_size") for kind in kinds)
    if gpus % size:
        raise ConfigError(
            "trainer.n_gpus_per_node",
            OmegaConf.select(config, "trainer.n_gpus_per_node"),
            f"{gpus} GPUs cannot be divided into rollout engines of {size} ({_ROLLOUT}.tensor_model_parallel_size "
            "x data_parallel_size x pipeline_model_parallel_size)",
        )
