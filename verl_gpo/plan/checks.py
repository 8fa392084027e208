"""Would verl take the configuration? GPO's checks, and verl's own, before anything starts."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from ..config import ConfigError, GPOConfig
from .configuration import Configuration, PlanError
from .numbers import uses_critic, uses_reference


def gpo_settings(configuration: Configuration) -> GPOConfig:
    """GPO's settings, checked as at the start of a run, but for files.

    Raises:
        PlanError: a setting that cannot work.
    """
    from ..plugin.checks.validate import check

    try:
        return check(configuration.config)
    except ConfigError as error:
        raise PlanError(str(error)) from error


def check_lengths(configuration: Configuration) -> None:
    """Refuse a context that cuts responses short: verl would do so without a word.

    Raises:
        PlanError: the context is shorter than prompt and response.
    """
    key, context = "actor_rollout_ref.rollout.max_model_len", None
    if configuration.get(key) is not None:
        context = configuration.integer(key)
    longest = configuration.integer("data.max_prompt_length") + configuration.integer("data.max_response_length")
    if context is not None and context < longest:
        raise PlanError(
            f"{key}={context}: must be at least {longest}, data.max_prompt_length + data.max_response_length"
        )


def verl_checks(configuration: Configuration) -> None:
    """verl's own checks of a configuration. Imports verl, which takes a while.

    Raises:
        PlanError: what verl would refuse.
    """
    import verl.utils.config as verl_config

    from ..plugin.checks.unknown_keys import check_known

    config = OmegaConf.create(OmegaConf.to_container(configuration.config, resolve=True))
    unmade = config.copy()
    unmade.critic.model.pop("_target_")  # verl would make it, and for that load the model
    # The plugin wraps verl's function to adapt a configuration to this host; the plan is for the host of the run.
    validate = getattr(verl_config.validate_config, "__wrapped__", verl_config.validate_config)
    try:
        check_known(config)
        with contextlib.redirect_stdout(io.StringIO()):
            critic = uses_critic(configuration)
            validate(unmade, use_reference_policy=uses_reference(configuration), use_critic=critic)
    except (ConfigError, AssertionError, ValueError, TypeError, InstantiationException) as error:
        # verl's dataclasses are made by Hydra, which wraps what they refuse in its own words.
        said = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        raise PlanError(" ".join(str(said).split()) or type(said).__name__) from error


def absent(configuration: Configuration) -> list[tuple[str, str, str]]:
    """Files of the run that are not on this host: key, path, and how to get it."""
    missing = []
    for key in ("data.train_files", "data.val_files"):
        files = configuration.get(key) or []
        for file in [files] if isinstance(files, str) else files:
            path = Path(str(file)).expanduser()
            if not path.exists():
                folder = path.parent
                remedy = f"python -m verl_gpo.data.prepare --dataset {folder.name} --out {folder}"
                missing.append((key, str(path), remedy if _is_dataset(folder.name) else ""))
    return missing


def _is_dataset(name: str) -> bool:
    from ..data.registry import DATASETS

    return name in DATASETS
