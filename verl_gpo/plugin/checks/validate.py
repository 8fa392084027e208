"""Settings are checked in the driver, after Hydra has composed them and before Ray starts.

A setting that cannot work stops the run with one line that names the key, the value and what is allowed. On a host
without an accelerator the configuration is adapted at the same point (:mod:`verl_gpo.cpu.settings`), and the workers of
a cluster are told its platform (:mod:`verl_gpo.plugin.checks.accelerators`).
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ...config import BLOCK, ConfigError, GPOConfig, owned_by
from ...core.search import SEARCHES
from ...cpu.detect import PLATFORM, accelerator_present
from ..attention import COST, adapt_to_missing_flash_attention
from ..estimators import BASES, BY_CRITIC, BY_GROUP, REFUSED, needs_group, refuses_credit
from ..observe import STARTED
from ..observe.metrics_file import PATH as METRICS_FILE
from ..watch import caretaker
from .accelerators import Decision, decide, pass_on
from .agents import check_agents
from .backends import check_backends, check_loggers
from .files import check_files, prepare_folder
from .never_learns import check_learns
from .outstanding import check_outstanding
from .ranks import check_host, check_mini_batches, check_nodes
from .unknown_keys import check_known
from .values import check_gpus, check_values
from .without_effect import (
    SAMPLER,
    SAMPLER_KEY,
    reentry_selected,
    refuse_without_effect,
    uses_gpo,
    without_effect,
)

TRAINER_MODES = ("sync", "colocate_async")


def install() -> None:
    """Run :func:`prepare` before verl's own ``validate_config``.

    Reason: verl 0.9.1 does not call plugins between Hydra's composition and ``ray.init``, and an error that is found
    later costs minutes of start-up. We know of no upstream issue.
    Remove when: verl calls plugins with the composed configuration.
    """
    import verl.utils.config as verl_config

    validate_config = verl_config.validate_config
    if hasattr(validate_config, "__wrapped__"):
        return

    @functools.wraps(validate_config)
    def prepare_and_validate(config: DictConfig, *args: Any, **kwargs: Any) -> Any:
        try:
            decision = prepare(config)
            result = validate_config(config, *args, **kwargs)
        except ConfigError as error:
            sys.exit(f"verl_gpo: {error}")
        except VERLS_OWN as error:
            if not uses_gpo(config):
                raise
            sys.exit(f"verl_gpo: {in_one_line(error)}")
        OmegaConf.update(
            config, f"ray_kwargs.ray_init.runtime_env.env_vars.{STARTED}", f"{time.time():.3f}", force_add=True
        )
        folders = [OmegaConf.select(config, key) for key in ("trainer.default_local_dir", f"{BLOCK}.trace_dir")]
        caretaker.start([*folders, os.environ.get(METRICS_FILE)])
        if decision.cpu and decision.joined is None:
            _fork_workers(config)
        return result

    verl_config.validate_config = prepare_and_validate


#: Exceptions that verl, Hydra and OmegaConf raise for a configuration that they refuse.
VERLS_OWN = (AssertionError, ValueError, TypeError, InstantiationException, OmegaConfBaseException)


def in_one_line(error: BaseException) -> str:
    """verl's error message for a configuration that it refuses, in one line."""
    # Hydra makes verl's dataclasses, and wraps their errors in its own.
    said = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    return " ".join(str(said).split()) or type(said).__name__


def prepare(config: DictConfig) -> Decision:
    """Check GPO's settings, and adapt the configuration to the CPU where there is nothing else to run on.

    Returns:
        Where the run computes.

    Raises:
        ConfigError: a setting that cannot work.
    """
    gpo = check(config)
    check_known(config)
    decision = decide(config)
    here, asked = decision.joined is None, uses_gpo(config)
    check_nodes(config, decision)
    if here and decision.cpu:
        check_host(config)
    if asked and not decision.cpu:
        check_gpus(config)
    if reentry_selected(config) and gpo.enable and gpo.trace_dir:
        prepare_folder(config, f"{BLOCK}.trace_dir", gpo.trace_dir, here)
    if here:
        check_backends(config, decision.cpu)
        check_files(config, gpo if asked else None)
        check_agents(config)
    if here and asked:
        check_loggers(config)
    notes = without_effect(config, gpo)
    if notes:
        print("verl_gpo: settings without effect:", *(f"  {note}" for note in notes), sep="\n", flush=True)
    pass_on(config, decision)
    if decision.cpu:
        from ...cpu.settings import adapt_to_cpu

        lines = adapt_to_cpu(config, joined=not here)
        if lines:
            why = "no accelerator on this host" if here else f"{PLATFORM}=cpu"
            print(f"verl_gpo: {why}, running on the CPU. Settings changed:", flush=True)
            print("\n".join(f"  {line}" for line in lines), flush=True)
    elif here or accelerator_present():  # a host without one has another environment than the nodes that train
        lines = adapt_to_missing_flash_attention(config)
        if lines:
            print("verl_gpo: flash-attn is not installed, torch's own attention (sdpa) is used. Settings changed:")
            print("\n".join(f"  {line}" for line in [*lines, f"cost: {COST}"]), flush=True)
    if asked:
        check_mini_batches(config)
    return decision


def _fork_workers(config: DictConfig) -> None:
    """Have Ray's workers forked from one process that has imported everything (:mod:`verl_gpo.cpu.zygote`)."""
    from ...cpu import zygote

    key = "ray_kwargs.ray_init.runtime_env.py_executable"
    if OmegaConf.select(config, key) is None:
        OmegaConf.update(config, key, zygote.python_command(), force_add=True)


def check(config: DictConfig) -> GPOConfig:
    """Check GPO's settings, and the settings of verl that GPO needs.

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
    given = OmegaConf.to_container(block, resolve=True) if block is not None else {}
    gpo = GPOConfig.from_mapping(given)
    refuse_without_effect(config, gpo)
    if not uses_gpo(config):
        return gpo
    check_values(config)
    check_outstanding(config, gpo)
    estimator = get("algorithm.adv_estimator")
    n = get("actor_rollout_ref.rollout.n")
    grouped = needs_group(estimator, gpo.base_estimator)
    if grouped and estimator in BY_GROUP and isinstance(n, int) and n < 2:
        refuse(
            "actor_rollout_ref.rollout.n", f"must be at least 2 with adv_estimator={estimator}: it compares rollouts"
        )
    _check_estimator_settings(gpo, given, estimator)
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
    check_learns(gpo, estimator)
    _check_credit(gpo, estimator)
    if gpo.reserved_rows and isinstance(n, int) and n < gpo.reserved_rows + (2 if grouped else 1):
        refuse(
            "actor_rollout_ref.rollout.n",
            f"must be at least {gpo.reserved_rows + (2 if grouped else 1)} with {BLOCK}.rows=matched: {gpo.anchors} x "
            f"{gpo.n_reentry} rows (anchors x n_reentry) of it are kept for re-entry",
        )
    if gpo.rows == "downsampled" and isinstance(n, int) and n <= gpo.kept_rows:
        allowed = f"must be below {n}, actor_rollout_ref.rollout.n: otherwise no row would be left out"
        raise ConfigError(f"{BLOCK}.kept_rows", gpo.kept_rows, allowed)
    log_probs = "actor_rollout_ref.rollout.calculate_log_probs"
    if gpo.credit == "steps" and gpo.credit_below < 1 and not get(log_probs):
        refuse(log_probs, f"must be true with {BLOCK}.credit_below, which asks how probable each token was")
    if gpo.splitter == "low_prob" and not get(log_probs):
        refuse(
            log_probs,
            f"must be true with {BLOCK}.splitter=low_prob, which cuts where the rollout's tokens were improbable",
        )
    if SEARCHES[gpo.search].needs_log_probs and not get(log_probs):
        refuse(
            log_probs,
            f"must be true with {BLOCK}.search={gpo.search}, which uses the log-probs of the rollout's tokens",
        )
    if get("reward.reward_model.enable") and not get("reward.reward_model.enable_resource_pool"):
        refuse(
            "reward.reward_model.enable_resource_pool",
            "must be true with re-entry: a colocated reward model cannot score while the policy samples",
        )
    if gpo.rows in ("widened", "downsampled") and get(SAMPLER_KEY) != SAMPLER:
        refuse(SAMPLER_KEY, f"must be {SAMPLER}, as in verl_gpo's gpo.yaml: it fits the mini-batches (rows={gpo.rows})")
    if get("algorithm.filter_groups.enable"):
        if get(SAMPLER_KEY) != SAMPLER or not get("trainer.v1.sampler.sampler_kwargs.filter_groups"):
            refuse(
                SAMPLER_KEY,
                f"must be {SAMPLER}, with path and sampler_kwargs as in verl_gpo's gpo.yaml, for "
                "algorithm.filter_groups with re-entry: verl's own buffer would take re-entry rollouts for roots",
            )
        if gpo.skip_groups == "mixed":
            raise ConfigError(
                f"{BLOCK}.skip_groups",
                gpo.skip_groups,
                "must be another value with algorithm.filter_groups, which drops all groups except the mixed ones",
            )
    if get("actor_rollout_ref.rollout.enable_rollout_routing_replay"):
        refuse(
            "actor_rollout_ref.rollout.enable_rollout_routing_replay",
            "must be false with re-entry: a continuation does not carry its prefix's routing",
        )
    return gpo


def _check_credit(gpo: GPOConfig, estimator: str) -> None:
    """Refuse step credit with an estimator that could not give it."""
    if gpo.credit != "steps" or not SEARCHES[gpo.search].reenters:
        return
    refused = refuses_credit(estimator, gpo.base_estimator)
    if refused:
        key, allowed = refused
        raise ConfigError(f"algorithm.{key}", estimator if key == "adv_estimator" else gpo.base_estimator, allowed)
    if estimator in BY_CRITIC and gpo.credit_below < 1:
        allowed = f"must be 1 with adv_estimator={estimator}: its rewards come at the ends of steps, not at tokens"
        raise ConfigError(f"{BLOCK}.credit_below", gpo.credit_below, allowed)


def _check_estimator_settings(gpo: GPOConfig, given: Mapping[str, Any], estimator: str) -> None:
    """Refuse an unknown base estimator, and settings of the estimator ``gpo`` if another estimator is used."""
    if gpo.base_estimator not in BASES:
        raise ConfigError(f"{BLOCK}.base_estimator", gpo.base_estimator, f"must be one of {', '.join(BASES)}")
    for name in owned_by("estimator") if gpo.enable and estimator != "gpo" else ():
        if given.get(name) is not None:
            key = "algorithm.adv_estimator"
            raise ConfigError(f"{BLOCK}.{name}", given[name], f"is read with {key}=gpo only, and {key} is {estimator}")
