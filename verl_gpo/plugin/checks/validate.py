"""Settings are checked in the driver, after Hydra has composed them and before Ray starts.

A setting that cannot work stops the run with one line that names the key, the value and what is allowed. On a host
without an accelerator the configuration is adapted at the same point (:mod:`verl_gpo.cpu.settings`).
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...config import BLOCK, ConfigError, GPOConfig
from ...cpu.detect import cpu_platform_wanted
from ..attention import COST, adapt_to_missing_flash_attention
from ..estimators import BASES, BY_GROUP, REFUSED, needs_group
from .backends import check_backends
from .unknown_keys import check_known

MANAGER = "verl_gpo.plugin.worker.ReentryManager"
MANAGER_KEY = "actor_rollout_ref.rollout.agent.agent_loop_manager_class"

_FILES = (
    "data.train_files",
    "data.val_files",
    "actor_rollout_ref.model.path",
    "reward.custom_reward_function.path",
)
TRAINER_MODES = ("sync", "colocate_async")
SAMPLER = "build_replay_buffer"


def install() -> None:
    """Run :func:`prepare` before verl's own ``validate_config``.

    Reason: verl 0.9.1 gives plugins no call between Hydra's composition and ``ray.init``, and a setting that is found
    wrong later has cost minutes of start-up. We know of no upstream issue.
    Remove when: verl calls plugins with the composed configuration.
    """
    import verl.utils.config as verl_config

    validate_config = verl_config.validate_config
    if hasattr(validate_config, "__wrapped__"):
        return

    @functools.wraps(validate_config)
    def prepare_and_validate(config: DictConfig, *args: Any, **kwargs: Any) -> Any:
        try:
            prepare(config)
        except ConfigError as error:
            sys.exit(f"verl_gpo: {error}")
        result = validate_config(config, *args, **kwargs)
        if runs_on_this_cpu(config):
            _fork_workers(config)
        return result

    verl_config.validate_config = prepare_and_validate


def prepare(config: DictConfig) -> None:
    """Check GPO's settings, and adapt the configuration to the CPU where there is nothing else to run on.

    Raises:
        ConfigError: a setting that cannot work.
    """
    gpo = check(config)
    check_known(config)
    if gpo.enable and gpo.trace_dir:
        _prepare_folder(config, f"{BLOCK}.trace_dir", gpo.trace_dir)
    if not _joins_cluster(config):
        check_backends(config, cpu_platform_wanted())
        for key in _FILES:
            _check_files_exist(key, OmegaConf.select(config, key))
        if gpo.enable and gpo.search == "given":
            _check_steps_are_given(gpo, OmegaConf.select(config, "data.train_files"))
    if runs_on_this_cpu(config):
        from ...cpu.settings import adapt_to_cpu

        lines = adapt_to_cpu(config)
        if lines:
            print("verl_gpo: no accelerator on this host, running on the CPU. Settings changed:", flush=True)
            print("\n".join(f"  {line}" for line in lines), flush=True)
    elif not cpu_platform_wanted():
        lines = adapt_to_missing_flash_attention(config)
        if lines:
            print("verl_gpo: flash-attn is not installed, torch's own attention (sdpa) is used. Settings changed:")
            print("\n".join(f"  {line}" for line in [*lines, f"cost: {COST}"]), flush=True)


def _joins_cluster(config: DictConfig) -> bool:
    """Whether Ray is joined rather than started here; the cluster may have files and accelerators unseen from here."""
    return bool(os.environ.get("RAY_ADDRESS") or OmegaConf.select(config, "ray_kwargs.ray_init.address"))


def runs_on_this_cpu(config: DictConfig) -> bool:
    """Whether the whole run takes place on this host, and it has no accelerator."""
    return cpu_platform_wanted() and not _joins_cluster(config)


def _fork_workers(config: DictConfig) -> None:
    """Have Ray's workers forked from one process that has imported everything (:mod:`verl_gpo.cpu.zygote`)."""
    from ...cpu import zygote

    key = "ray_kwargs.ray_init.runtime_env.py_executable"
    if OmegaConf.select(config, key) is None:
        OmegaConf.update(config, key, zygote.python_command(), force_add=True)


def reentry_selected(config: DictConfig) -> bool:
    """Whether the configuration selects GPO's rollout worker."""
    return OmegaConf.select(config, MANAGER_KEY) == MANAGER


def _prepare_folder(config: DictConfig, key: str, value: str) -> None:
    """Name a folder in full, since workers may run elsewhere, and refuse one that cannot be written to from here."""
    folder = Path(value).expanduser().absolute()
    OmegaConf.update(config, key, str(folder))
    if _joins_cluster(config):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(key, value, f"must be a folder that can be written to ({error})") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(key, value, "must be a folder that can be written to")


def _check_files_exist(key: str, value: Any) -> None:
    """Refuse local files that are missing. Names on a hub (``org/name``) and URLs are left to verl."""
    for path in [value] if isinstance(value, str) else list(value or ()):
        local = Path(str(path)).expanduser()
        looks_local = local.is_absolute() or str(path).startswith(".") or local.suffix in (".parquet", ".py", ".jsonl")
        if looks_local and "://" not in str(path) and not local.exists():
            raise ConfigError(key, path, "no such file or folder")


def _check_steps_are_given(gpo: GPOConfig, value: Any) -> None:
    """Refuse a training set that does not name decisive steps, where it is a local parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in [value] if isinstance(value, str) else list(value or ()):
        local = Path(str(path)).expanduser()
        if local.suffix != ".parquet" or not local.exists():
            continue
        schema = pq.read_schema(local)
        index = schema.get_field_index("extra_info")
        names = [field.name for field in schema.field(index).type] if index >= 0 else []
        if gpo.given_key not in names:
            raise ConfigError(
                f"{BLOCK}.given_key",
                gpo.given_key,
                f"must be a field of extra_info for search=given; that of {path} has {', '.join(names) or 'none'}",
            )
        kind = schema.field(index).type.field(gpo.given_key).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(kind.value_type):
            raise ConfigError(
                f"{BLOCK}.given_key", gpo.given_key, f"must hold lists of integers for search=given; {path} has {kind}"
            )


def check(config: DictConfig) -> GPOConfig:
    """Check what GPO adds to and asks of a verl configuration.

    Raises:
        ConfigError: the key, the value, what is allowed.
    """

    def get(key: str) -> Any:
        return OmegaConf.select(config, key)

    def refuse(key: str, allowed: str) -> None:
        raise ConfigError(key, get(key), allowed)

    block = get(BLOCK)
    if block is not None and not isinstance(block, DictConfig):
        refuse(BLOCK, "must be a block of settings")
    gpo = GPOConfig.from_mapping(OmegaConf.to_container(block, resolve=True) if block is not None else None)

    estimator = get("algorithm.adv_estimator")
    n = get("actor_rollout_ref.rollout.n")
    uses_gpo = estimator == "gpo" or reentry_selected(config)
    grouped = needs_group(estimator, gpo.base_estimator)
    if uses_gpo and grouped and estimator in BY_GROUP and isinstance(n, int) and n < 2:
        refuse(
            "actor_rollout_ref.rollout.n", f"must be at least 2 with adv_estimator={estimator}: it compares rollouts"
        )
    _check_estimator_settings(gpo, estimator)
    if not reentry_selected(config) or not gpo.enable:
        return gpo

    if not get("trainer.use_v1"):
        refuse("trainer.use_v1", "must be true: re-entry runs in verl's v1 trainer")
    if get("trainer.v1.trainer_mode") not in TRAINER_MODES:
        refuse(
            "trainer.v1.trainer_mode",
            f"must be one of {', '.join(TRAINER_MODES)} with re-entry: separate_async, whose rollouts need "
            "accelerators of their own, has not been verified with it",
        )
    if estimator in REFUSED:
        refuse("algorithm.adv_estimator", REFUSED[estimator])
    if gpo.reserved_rows and isinstance(n, int) and n < gpo.reserved_rows + (2 if grouped else 1):
        refuse(
            "actor_rollout_ref.rollout.n",
            f"must be at least {gpo.reserved_rows + (2 if grouped else 1)} with {BLOCK}.rows=matched: {gpo.anchors} x "
            f"{gpo.n_reentry} rows (anchors x n_reentry) of it are kept for re-entry",
        )
    response_length = get("data.max_response_length")
    if gpo.max_prefix_tokens >= response_length:
        raise ConfigError(
            f"{BLOCK}.max_prefix_tokens",
            gpo.max_prefix_tokens,
            f"must be under data.max_response_length={response_length}, which prefix and continuation share",
        )
    log_probs = "actor_rollout_ref.rollout.calculate_log_probs"
    if gpo.splitter == "low_prob" and not get(log_probs):
        refuse(
            log_probs,
            f"must be true with {BLOCK}.splitter=low_prob, which cuts where the rollout's tokens were improbable",
        )
    if gpo.search == "informative" and not get(log_probs):
        refuse(
            log_probs,
            f"must be true with {BLOCK}.search=informative, which asks where the rollout could have gone another way",
        )
    if get("reward.reward_model.enable") and not get("reward.reward_model.enable_resource_pool"):
        refuse(
            "reward.reward_model.enable_resource_pool",
            "must be true with re-entry: a colocated reward model cannot score while the policy samples",
        )
    sampler = "trainer.v1.sampler"
    if get("algorithm.filter_groups.enable"):
        if get(f"{sampler}.custom_sampler.name") != SAMPLER or not get(f"{sampler}.sampler_kwargs.filter_groups"):
            refuse(
                f"{sampler}.custom_sampler.name",
                f"must be {SAMPLER}, with path and sampler_kwargs as in verl_gpo's gpo.yaml, for "
                "algorithm.filter_groups with re-entry: verl's own buffer would take re-entry rollouts for roots",
            )
        if gpo.skip_groups == "mixed":
            raise ConfigError(
                f"{BLOCK}.skip_groups",
                gpo.skip_groups,
                "must be another with algorithm.filter_groups, which drops all groups but the mixed ones",
            )
    if get("actor_rollout_ref.rollout.enable_rollout_routing_replay"):
        refuse(
            "actor_rollout_ref.rollout.enable_rollout_routing_replay",
            "must be false with re-entry: a continuation does not carry its prefix's routing",
        )
    return gpo


def _check_estimator_settings(gpo: GPOConfig, estimator: str) -> None:
    """Refuse settings that nothing would read."""
    if gpo.base_estimator not in BASES:
        raise ConfigError(f"{BLOCK}.base_estimator", gpo.base_estimator, f"must be one of {', '.join(BASES)}")
    if estimator != "gpo":
        for name in ("base_estimator", "reentry_weight", "critical_weight", "exp_beta"):
            if getattr(gpo, name) != getattr(GPOConfig, name):
                raise ConfigError(
                    f"{BLOCK}.{name}",
                    getattr(gpo, name),
                    f"is read by algorithm.adv_estimator=gpo only, and that is {estimator}",
                )
    if gpo.exp_beta and gpo.base_estimator != "grpo":
        raise ConfigError(
            f"{BLOCK}.exp_beta", gpo.exp_beta, f"must be 0 with base_estimator={gpo.base_estimator}; grpo has it"
        )
