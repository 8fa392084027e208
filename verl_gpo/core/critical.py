"""From step advantages to the critical step: GPO's step 3, ``m = argmax_k A_k``, its confidence, and abstention.

A rule maps the advantage of a step to its importance; the critical step is the most important one. To add a rule, add
an entry to :data:`RULES` (and a line to the tests): configuration, documentation and errors read the table.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

#: name -> importance of a step, given its advantage. ``random`` ignores advantages and is handled separately.
RULES: dict[str, Callable | None] = {
    "argmax": lambda advantage: advantage,  # the paper's rule: the step that gains most
    "abs": abs,  # the step that changes most, either way
    "argmin": lambda advantage: -advantage,  # the step that loses most
    "random": None,  # any step: the ablation
}


#: Differences of means that are closer to each other than this differ only by rounding.
_EQUAL = 1e-9


@dataclass(frozen=True)
class CriticalStep:
    """The chosen step ``m``.

    Attributes:
        index: ``m``.
        advantage: estimate of ``A_m``, NaN where the rule needed none.
        confidence: probability that it is the most important step and more important than ``min_advantage``, under the
            belief of :mod:`verl_gpo.core.curve`; NaN where the rule needed none.
    """

    index: int
    advantage: float
    confidence: float = math.nan


def best_steps(
    curves_SK1: np.ndarray,
    rule: str,
    eligible_K: Sequence[bool],
    min_advantage: float,
    rng: np.random.Generator,
    environment_SK: np.ndarray | None = None,
) -> np.ndarray:
    """The critical step of each of many possible curves.

    Args:
        curves_SK1: state values, in units of the reward. Shape ``(S, K + 1)``.
        rule: a key of :data:`RULES`.
        eligible_K: steps that may be chosen.
        min_advantage: the importance of the chosen step has to exceed it.
        rng: breaks ties, which are frequent because the values lie on a grid.
        environment_SK: how much of each step's difference was the environment's and not the policy's doing; None for
            nothing. Shape ``(S, K)``.

    Returns:
        Step indices, ``K`` where no step qualifies. Shape ``(S,)``.
    """
    size, steps = len(curves_SK1), curves_SK1.shape[1] - 1
    among = np.flatnonzero(eligible_K)
    if not len(among):
        return np.full(size, steps)
    curves_K1S = curves_SK1.T
    advantages = curves_K1S[among + 1] - curves_K1S[among]
    if environment_SK is not None:
        advantages -= environment_SK.T[among]
    importance = (RULES[rule] or np.abs)(advantages)  # the random rule's search looks for change
    best = (importance + 1e-6 * rng.random(importance.shape)).argmax(axis=0)
    exceeds = importance.max(axis=0) > min_advantage + 1e-9
    return np.where(exceeds, among[best], steps)


def select_by_belief(
    labels_S: np.ndarray,
    curves_SK1: np.ndarray,
    among_K: Sequence[bool] | None = None,
    environment_SK: np.ndarray | None = None,
) -> CriticalStep | None:
    """The step that is most probably critical.

    Args:
        labels_S: :func:`best_steps` of the curves.
        curves_SK1: the curves.
        among_K: which steps may be chosen; None for all that the labels name.
        environment_SK: as in :func:`best_steps`.

    Returns:
        The step with its expected advantage, the first of equally probable ones; None where "no critical step" is more
        probable.
    """
    steps = curves_SK1.shape[1] - 1
    count_K1 = np.bincount(labels_S, minlength=steps + 1)
    count_K = count_K1[:-1] if among_K is None else np.where(among_K, count_K1[:-1], 0)
    best = int(count_K.argmax()) if steps else 0
    if not steps or not count_K[best] or count_K1[-1] > count_K[best]:
        return None
    difference_S = curves_SK1[:, best + 1] - curves_SK1[:, best]
    advantage = float((difference_S if environment_SK is None else difference_S - environment_SK[:, best]).mean())
    return CriticalStep(best, advantage, int(count_K[best]) / len(labels_S))


def select_critical_step(
    advantages_K: Sequence[float],
    rule: str,
    min_advantage: float = 0.0,
    rng: random.Random | None = None,
    eligible_K: Sequence[bool] | None = None,
) -> CriticalStep | None:
    """Choose the critical step from estimated advantages (the paper's choice), or none.

    Args:
        advantages_K: ``A_k`` of every step, NaN where unknown; such a step is never chosen by a rule that needs values.
        rule: a key of :data:`RULES`.
        min_advantage: the importance of the chosen step has to exceed it. At 0 a response whose values never change
            has no critical step. Without effect on ``random``.
        rng: source of ``random``'s choice, and of the choice among equally important steps. Means of few rewards are
            often equal, and always taking the first step would be the most expensive: its rollouts are the longest.
        eligible_K: steps that may be chosen; None for all.

    Returns:
        The step; None when no step qualifies.
    """
    importance = RULES[rule]
    steps = [k for k in range(len(advantages_K)) if eligible_K is None or eligible_K[k]]
    if importance is None:
        if not steps:
            return None
        index = (rng or random.Random()).choice(steps)
        return CriticalStep(index, advantages_K[index])
    steps = [k for k in steps if not math.isnan(advantages_K[k])]
    if not steps:
        return None
    most = max(importance(advantages_K[k]) for k in steps)
    if most <= min_advantage:
        return None
    best = (rng or random.Random(0)).choice([k for k in steps if importance(advantages_K[k]) > most - _EQUAL])
    return CriticalStep(best, advantages_K[best])
