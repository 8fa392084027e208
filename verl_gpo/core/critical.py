"""Step advantages to the critical step: GPO's step 3, ``m = argmax_k A_k``.

A rule maps the advantage of a step to its importance; the critical step is the most important one. To add a rule, add
an entry to :data:`RULES` (and a line to the tests): configuration, documentation and errors read the table.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: name -> importance of a step, given its advantage. ``random`` ignores advantages and is handled apart.
RULES: dict[str, Callable[[float], float] | None] = {
    "argmax": lambda advantage: advantage,  # the paper's rule: the step that gains most
    "abs": abs,  # the step that changes most, either way
    "argmin": lambda advantage: -advantage,  # the step that loses most
    "random": None,  # Satori's random reset, the paper's ablation; needs no values
}


@dataclass(frozen=True)
class CriticalStep:
    """The chosen step ``m`` and its advantage (NaN where the rule needed none)."""

    index: int
    advantage: float


def needs_values(rule: str) -> bool:
    """Whether the rule looks at advantages, and so at Monte Carlo values, at all."""
    return RULES[rule] is not None


def select_critical_step(
    advantages_K: Sequence[float],
    rule: str,
    min_advantage: float = 0.0,
    rng: random.Random | None = None,
) -> CriticalStep | None:
    """Choose the critical step, or none.

    Args:
        advantages_K: ``A_k`` of every step, NaN where unknown; such a step is never chosen by a rule that needs values.
        rule: a key of :data:`RULES`.
        min_advantage: the importance of the chosen step has to exceed it. At 0 a response whose values never move has
            no critical step. Without effect on ``random``.
        rng: source of ``random``'s choice.

    Returns:
        The step, the first of equals; None when no step qualifies.
    """
    importance = RULES[rule]
    if importance is None:
        if not advantages_K:
            return None
        index = (rng or random.Random()).randrange(len(advantages_K))
        return CriticalStep(index, advantages_K[index])
    best: int | None = None
    for k, advantage in enumerate(advantages_K):
        if math.isnan(advantage):
            continue
        if best is None or importance(advantage) > importance(advantages_K[best]):
            best = k
    if best is None or importance(advantages_K[best]) <= min_advantage:
        return None
    return CriticalStep(best, advantages_K[best])
