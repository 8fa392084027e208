"""Computes the twin of a GPO run: the run without GPO that costs the same tokens and takes the same optimizer steps.

The twin differs only in the method. It spends the tokens of GPO's search on rollouts: on more rollouts of each prompt
(``n``), or on more prompts (``prompts``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import GPOConfig
from .configuration import Configuration, PlanError
from .numbers import Batch, Workload, expectation, measured_run, workload

TWINS = ("plain", "random")
#: Twins, and the control that samples more rollouts and trains on as many rows (PODS).
CONTROLS = (*TWINS, "pods")
MATCH = ("n", "prompts")

_KEYS = {
    "prompts": "data.train_batch_size",
    "n": "actor_rollout_ref.rollout.n",
    "mini_batch": "actor_rollout_ref.actor.ppo_mini_batch_size",
}


@dataclass(frozen=True)
class Twin:
    """A twin of a GPO run.

    Attributes:
        method: one of :data:`CONTROLS`.
        overrides: the overrides that it needs in addition to the method's own settings.
        gpo_tokens: tokens of a training step of the GPO run.
        workload: the twin's training step.
    """

    method: str
    overrides: tuple[str, ...]
    gpo_tokens: float
    workload: Workload

    @property
    def ratio(self) -> float:
        """The twin's tokens over the GPO run's."""
        return self.workload.tokens / self.gpo_tokens


def method_settings(gpo: GPOConfig, method: str, rows: int = 2) -> GPOConfig:
    """The settings of a run's twin: no re-entry, re-entry at a step drawn at random, or more roots than rows.

    Args:
        gpo: of the run.
        method: one of :data:`CONTROLS`.
        rows: of a prompt that the run trains on, for ``pods``.
    """
    if method == "plain":
        return replace(gpo, enable=False)
    if method == "pods":
        return replace(gpo, search="none", rows="downsampled", kept_rows=max(rows, 2), learn_from="fresh")
    if not gpo.n_reentry:
        raise PlanError("algorithm.gpo.n_reentry=0: a run without re-entry has no random twin")
    return replace(gpo, search="random")


def twin(
    configuration: Configuration, gpo: GPOConfig, method: str, match: str = "n", measured: Path | None = None
) -> Twin:
    """The twin of a GPO run.

    Args:
        configuration, gpo: of the GPO run.
        method: one of :data:`CONTROLS`.
        match: one of :data:`MATCH`: the quantity that is raised.
        measured: metrics of the GPO run, used instead of the estimates.

    Raises:
        PlanError: a configuration that has no twin.
    """
    if not gpo.enable or gpo.search in ("none", "random"):
        said = f"search={gpo.search}" if gpo.enable else "enable=false, or verl's own rollout worker"
        raise PlanError(f"algorithm.gpo.{said}: a twin is of a run with a search (METHOD=gpo)")
    if method == "pods" and match != "n":
        raise PlanError(f"--match {match}: must be n with --twin pods, which samples more rollouts of a prompt")
    expected = expectation(configuration, measured)
    own, batch = workload(configuration, gpo, expected), Batch.of(configuration)
    target = measured_run(measured).tokens if measured else own.tokens
    kept = max(round((own.root_rows + own.reentry_rows) / batch.prompts), 2)
    settings = method_settings(gpo, method, kept)

    def step(batch: Batch) -> Workload:
        return workload(configuration, settings, expected, batch)

    if match == "n":
        least = (settings.reserved_rows if settings.enable else 0) + 2
        if method == "pods":
            least = kept + 1
        chosen = replace(batch, n=_closest(lambda n: step(replace(batch, n=n)).tokens, target, least))
    else:
        # The number of mini-batches stays the same, and all are full.
        count = max(1, batch.prompts // batch.mini_batch)
        size = _closest(lambda m: step(Batch(m * count, batch.n, m)).tokens, target, 1)
        chosen = Batch(size * count, batch.n, size)
    if method != "random" and step(chosen).actor.optimizer_steps != own.actor.optimizer_steps:
        epochs = configuration.integer("actor_rollout_ref.actor.ppo_epochs")
        chosen = replace(chosen, mini_batch=math.ceil(chosen.prompts * epochs / own.actor.optimizer_steps))
    changed = [
        f"{key}={getattr(chosen, name)}" for name, key in _KEYS.items() if vars(chosen)[name] != vars(batch)[name]
    ]
    if method == "pods":
        changed = ["algorithm.gpo.preset=pods", f"algorithm.gpo.kept_rows={kept}", *changed]
    return Twin(method, tuple(changed), target, step(chosen))


def _closest(tokens: Callable[[int], float], target: float, least: int) -> int:
    """The integer of at least ``least`` whose tokens, a linear function of it, are closest to the target."""
    first, slope = tokens(least), tokens(least + 1) - tokens(least)
    guess = least + max(0.0, (target - first) / slope)
    return min((math.floor(guess), math.ceil(guess)), key=lambda size: abs(first + slope * (size - least) - target))
