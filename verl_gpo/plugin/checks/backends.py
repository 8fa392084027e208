"""Engines that this host cannot run, found before Ray starts rather than in a worker."""

from __future__ import annotations

import importlib.util

from omegaconf import DictConfig, OmegaConf

from ...config import ConfigError

_ROLLOUT, _STRATEGY = "actor_rollout_ref.rollout.name", "actor_rollout_ref.actor.strategy"
#: The package that each engine is imported from.
_PACKAGES = {"vllm": "vllm", "sglang": "sglang", "megatron": "megatron"}
#: verl's loggers (``verl.utils.tracking.Tracking``) and their packages; verl imports them after starting the workers.
_LOGGERS = {
    "console": None,
    "file": None,
    "wandb": "wandb",
    "tracking": "wandb",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "trackio": "trackio",
    "clearml": "clearml",
    "vemlp_wandb": "volcengine_ml_platform",
    "rl_insight": "rl_insight",
}


def check_loggers(config: DictConfig) -> None:
    """Refuse loggers that verl does not have, or that are not installed.

    Raises:
        ConfigError: the logger.
    """
    key = "trainer.logger"
    given = OmegaConf.select(config, key)
    for name in [given] if isinstance(given, str) else given:
        if name not in _LOGGERS:
            raise ConfigError(key, name, f"must be one of {', '.join(_LOGGERS)}")
        package = _LOGGERS[name]
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(
                key, name, f"{package} is not installed in this environment; console and file always work"
            )


def check_backends(config: DictConfig, on_cpu: bool) -> None:
    """Refuse engines that are not installed, or that need an accelerator on a host without one.

    Raises:
        ConfigError: the engine.
    """
    for key, works in ((_ROLLOUT, ("vllm",)), (_STRATEGY, ("fsdp", "fsdp2"))):
        engine = OmegaConf.select(config, key, throw_on_missing=False)
        if on_cpu and engine is not None and engine not in works:
            raise ConfigError(key, engine, f"must be {' or '.join(works)} on a host without an accelerator")
        if engine in _PACKAGES and importlib.util.find_spec(_PACKAGES[engine]) is None:
            raise ConfigError(key, engine, f"{_PACKAGES[engine]} is not installed in this environment")
