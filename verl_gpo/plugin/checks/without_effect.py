"""Settings that the run would not read: refused if the user asked for another run than this one, otherwise printed.

Two keys decide what a run does: the rollout worker (``agent_loop_manager_class``) searches and re-enters, the estimator
(``algorithm.adv_estimator``) computes advantages. A setting of ``algorithm.gpo`` alone does neither. The class
:class:`verl_gpo.config.GPOConfig` knows which of these settings are not read because of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...config import BLOCK, ConfigError, GPOConfig, owned_by
from .unknown_keys import stock

MANAGER = "verl_gpo.plugin.worker.ReentryManager"
MANAGER_KEY = "actor_rollout_ref.rollout.agent.agent_loop_manager_class"
SAMPLER = "build_replay_buffer"
SAMPLER_KEY = "trainer.v1.sampler.custom_sampler.name"

#: Keys of verl before 0.9, and the key that verl 0.9 reads instead. ``verl.experimental.reward_loop`` has a function
#: that moves them, but ``verl.trainer.main_ppo`` does not call it. If several match, the longest prefix counts.
_MOVED = {
    "custom_reward_function": "reward.custom_reward_function",
    "reward_model": "reward.reward_model",
    "reward_model.num_workers": "reward.num_workers",
    "reward_model.reward_manager": "reward.reward_manager.name",
    "reward_model.reward_loop_source": "reward.reward_manager.source",
    "reward_model.reward_loop_module_path": "reward.reward_manager.module.path",
    "reward_model.reward_loop_class_name": "reward.reward_manager.module.name",
    "reward_model.model.path": "reward.reward_model.model_path",
    "reward_model.reward_kwargs": "reward.reward_kwargs",
    "sandbox_fusion": "reward.sandbox_fusion",
}
#: Blocks in which users expect GPO's settings, and in which they are not read.
_NOT_THE_BLOCK = ("gpo", "actor_rollout_ref.rollout.custom.gpo")
#: Blocks in which an unknown key is only printed; those of the engines are checked more strictly.
_WATCHED = ("algorithm", "data", "trainer")
#: Settings that have an effect even if there is no re-entry row. The estimator has two more of its own (``owned_by``),
#: which weigh re-entry rows: without GPO's rollout worker they have an effect only if other code adds such rows.
_OF_EVERY_RUN = ("preset", "enable", "base_estimator")


def reentry_selected(config: DictConfig) -> bool:
    """Whether the configuration selects GPO's rollout worker."""
    return OmegaConf.select(config, MANAGER_KEY) == MANAGER


def given_settings(config: DictConfig) -> dict[str, Any]:
    """The fields of ``algorithm.gpo`` that are set; a null counts as not set."""
    block = OmegaConf.select(config, BLOCK)
    if not isinstance(block, DictConfig):
        return {}
    return {str(key): value for key, value in OmegaConf.to_container(block, resolve=True).items() if value is not None}


def uses_gpo(config: DictConfig) -> bool:
    """Whether anything in the configuration asks for GPO. Other runs are not checked here."""
    estimator = OmegaConf.select(config, "algorithm.adv_estimator")
    return reentry_selected(config) or estimator == "gpo" or bool(given_settings(config))


def refuse_without_effect(config: DictConfig, gpo: GPOConfig) -> None:
    """Refuse settings that ask for something that the run would not do.

    Raises:
        ConfigError: the key, and what to set in its place.
    """
    for block in _NOT_THE_BLOCK:
        given = OmegaConf.select(config, block)
        if isinstance(given, DictConfig) and given:
            name = next(iter(given))
            raise ConfigError(f"{block}.{name}", given[name], f"nothing reads it; GPO's settings are in {BLOCK}")
    algorithm = OmegaConf.select(config, "algorithm") or {}
    for name in (option.name for option in fields(GPOConfig)):
        if algorithm.get(name) is not None:
            raise ConfigError(
                f"algorithm.{name}", algorithm.get(name), f"nothing reads it; did you mean {BLOCK}.{name}?"
            )
    # The estimator alone is a way to use GPO: without re-entry rows it is its base estimator.
    given = {name: value for name, value in given_settings(config).items() if name not in owned_by("estimator")}
    if gpo.enable and OmegaConf.select(config, MANAGER_KEY) is None and given:
        name = next((name for name in given if name != "preset"), "preset")
        raise ConfigError(
            f"{BLOCK}.{name}",
            given[name],
            "has no effect: verl's own rollout worker neither searches nor re-enters. Take GPO's configuration "
            "(--config-path pkg://verl_gpo.trainer.config --config-name gpo_trainer, or gpo in the defaults of your "
            f"own), which sets {MANAGER_KEY}={MANAGER}, or set {BLOCK}.enable=false",
        )
    if uses_gpo(config):
        for key, value, instead in _moved(config):
            raise ConfigError(key, value, f"verl 0.9.1 does not read it; set {instead}")


def without_effect(config: DictConfig, gpo: GPOConfig) -> list[str]:
    """Settings that the run does not read, one line each. Without GPO these are only keys that verl has moved."""
    moved = [f"{key}={value}: verl 0.9.1 does not read it; it has {new}" for key, value, new in _moved(config)]
    return moved + ([*_of_gpo(config, gpo), *_of_verl(config)] if uses_gpo(config) else [])


def _of_gpo(config: DictConfig, gpo: GPOConfig) -> Iterator[str]:
    given = {name: value for name, value in given_settings(config).items() if name not in _OF_EVERY_RUN}
    shown = f"; not read: {' '.join(f'{name}={value}' for name, value in given.items())}" if given else ""
    if not gpo.enable:
        if given:
            yield f"{BLOCK}.enable=false: no search and no re-entry{shown}"
        return
    manager = OmegaConf.select(config, MANAGER_KEY)
    if manager != MANAGER:
        yield f"{MANAGER_KEY}={manager}: is not GPO's manager, so no search and no re-entry{shown}"
        return
    if OmegaConf.select(config, SAMPLER_KEY) != SAMPLER:
        yield f"{SAMPLER_KEY}={OmegaConf.select(config, SAMPLER_KEY)}: without {SAMPLER} there are no gpo/* metrics"


def _of_verl(config: DictConfig) -> Iterator[str]:
    def get(key: str) -> Any:
        return OmegaConf.select(config, key)

    for role in ("actor_rollout_ref.actor", "critic"):
        bound = get(f"{role}.grad_clip")
        if bound not in (None, 1.0, get(f"{role}.optim.clip_grad")):  # 1.0 is verl's default
            # https://github.com/verl-project/verl/pull/7923
            yield f"{role}.grad_clip={bound}: verl 0.9.1 does not read it; it reads {role}.optim.clip_grad"
    batches = "algorithm.filter_groups.max_num_gen_batches"
    if get("algorithm.filter_groups.enable") and get(batches):
        yield f"{batches}={get(batches)}: verl's v1 trainer does not read it; it has max_inflight_gen_batches"
    known = stock(str(config.get("model_engine", "dp")))
    for block in _WATCHED:
        for key, value in _added(get(block), known.get(block), f"{block}."):
            yield f"{key}={value}: verl's configuration has no such key; only code that uses it by name reads it"


def _added(given: Any, known: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Keys that verl's own configuration does not have; a block that is empty there accepts any key."""
    for key, value in given.items() if isinstance(given, DictConfig) else ():
        name = f"{prefix}{key}"
        if name == BLOCK:
            continue
        if not isinstance(known, dict) or key not in known:
            if value is not None:
                yield name, value
        elif known[key]:
            yield from _added(value, known[key], f"{name}.")


def _moved(config: DictConfig) -> Iterator[tuple[str, Any, str]]:
    """Keys of verl before 0.9 that are set: key, value, and the key that verl reads instead."""
    for block in ("custom_reward_function", "reward_model", "sandbox_fusion"):
        given = OmegaConf.select(config, block)
        for key, value in _leaves(OmegaConf.to_container(given) if isinstance(given, DictConfig) else {}, f"{block}."):
            old = max((old for old in _MOVED if f"{key}.".startswith(f"{old}.")), key=len)
            yield key, value, _MOVED[old] + key.removeprefix(old)


def _leaves(block: dict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value
