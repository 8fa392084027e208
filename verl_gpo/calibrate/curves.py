"""Simulated responses with a known value curve, one function for each kind of curve that a search may find."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from ..core.types import Continuation, ScoredContinuation, Tokens, Trajectory
from .replay import Case, stand_in

TOKENS_PER_STEP = 10


def one_jump(steps: int, rng: np.random.Generator) -> np.ndarray:
    """One step raises the value from between 0.1 and 0.6 to 1."""
    values = np.full(steps + 1, rng.uniform(0.1, 0.6))
    values[rng.integers(steps) + 1 :] = 1.0
    return values


def one_jump_and_rest(steps: int, rng: np.random.Generator) -> np.ndarray:
    """One step gives most of the gain, and the last step the rest."""
    values = np.full(steps + 1, rng.uniform(0.1, 0.5))
    values[rng.integers(steps) + 1 :] = rng.uniform(0.8, 0.95)
    values[-1] = 1.0
    return values


def several_jumps(steps: int, rng: np.random.Generator) -> np.ndarray:
    """Three steps raise the value by different amounts."""
    values = np.full(steps + 1, rng.uniform(0.05, 0.3))
    rest = 1.0 - values[0]
    for step, part in zip(_places(steps, 3, rng), rng.dirichlet([2.0, 2.0, 2.0]), strict=True):
        values[step + 1 :] += part * rest
    values[-1] = 1.0
    return np.minimum(values, 1.0)


def opposing_jumps(steps: int, rng: np.random.Generator) -> np.ndarray:
    """The value rises, falls, and rises to 1: in a bisection these changes cancel."""
    up, down, final = _places(steps, 3, rng)
    values = np.full(steps + 1, rng.uniform(0.3, 0.6))
    values[up + 1 :] = rng.uniform(0.7, 0.95)
    values[down + 1 :] = rng.uniform(0.1, 0.35)
    values[final + 1 :] = 1.0
    return values


def drift(steps: int, rng: np.random.Generator) -> np.ndarray:
    """Every step raises the value a little; no step is much more important than the others."""
    return np.linspace(rng.uniform(0.2, 0.6), 1.0, steps + 1)


def flat(steps: int, rng: np.random.Generator) -> np.ndarray:
    """The value hardly changes: it is near 0 or near 1 from the prompt on."""
    start = rng.uniform(0.0, 0.08)
    values = np.full(steps + 1, start)
    values[-1] = 0.0
    return values if rng.random() < 0.5 else 1.0 - values


#: name -> ``V(s_0) .. V(s_K)`` for a number of steps.
CURVES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "one jump": one_jump,
    "one jump and rest": one_jump_and_rest,
    "several jumps": several_jumps,
    "opposing jumps": opposing_jumps,
    "drift": drift,
    "flat": flat,
}


def _places(steps: int, count: int, rng: np.random.Generator) -> list[int]:
    return sorted(int(step) for step in rng.choice(steps, size=count, replace=False))


class CurvePolicy:
    """A policy that succeeds from ``s_k`` with probability ``V(s_k)``, and writes the remaining steps."""

    def __init__(self, values: np.ndarray, rng: random.Random):
        self._values, self._rng = values, rng

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        steps = len(self._values) - 1
        return Continuation((0,) * (steps * TOKENS_PER_STEP - len(prefix)))

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        value = self._values[len(prefix) // TOKENS_PER_STEP]
        return ScoredContinuation(continuation, float(self._rng.random() < value))


def simulated_cases(kind: str, steps: int, count: int, group: int = 8, seed: int = 0) -> list[Case]:
    """Responses of one kind, each in a group of its own.

    Args:
        kind: a key of :data:`CURVES`.
        steps: ``K``.
        count: number of responses.
        group: root rollouts of each group.
        seed: of curves and root rewards.
    """
    rng = np.random.default_rng([seed, steps, list(CURVES).index(kind)])
    length = steps * TOKENS_PER_STEP
    cases = []
    for _ in range(count):
        values = CURVES[kind](steps, rng)
        others = tuple(stand_in(n, length, float(rng.random() < values[0])) for n in range(group - 1))
        root = Trajectory(tuple(range(length)), None, float(values[-1]))
        ends = tuple(range(TOKENS_PER_STEP, length + 1, TOKENS_PER_STEP))

        def policy(source: random.Random, values: np.ndarray = values) -> CurvePolicy:
            return CurvePolicy(values, source)

        cases.append(Case(root, others, ends, tuple(map(float, values)), length + 1, policy))
    return cases
