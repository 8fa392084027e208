"""What is known of the true values of a response, as curves that may be the true one.

A simulated response has one curve, the true one. Of a pooled response there are only continuations, and a mean of 32
of them has a standard error of up to 0.09. If a hit were judged by the means, a response without any decisive step
would get one by chance. So curves are drawn from the posterior distribution of the values, and each judgement is the
share of curves for which it is true.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.critical import RULES
from ..core.curve import ValueCurve
from ..core.values import Bounds

#: Number of curves that are drawn for a response.
CURVES = 512


#: Bounds of a reward of 0 or 1.
BOUNDS = Bounds()


class Truth:
    """Judges a chosen step by the curves that may be the true one.

    Args:
        curves_SK1: values of the states ``s_0 .. s_K``, each curve as probable as any other. A value may be NaN where
            nothing is known. Shape ``(S, K + 1)``.
    """

    def __init__(self, curves_SK1: np.ndarray):
        self._advantages_SK = np.diff(np.atleast_2d(np.asarray(curves_SK1, dtype=float)))

    def importance(self, rule: str) -> np.ndarray:
        """Importance of each step by a rule, in each curve. Shape ``(S, K)``."""
        return RULES[rule](self._advantages_SK)

    def decisive(self, rule: str, least: float) -> float:
        """Probability that a step of the response has an importance of at least ``least``."""
        return float((self._best(rule) >= least - 1e-9).mean())

    def hit_K(self, rule: str, least: float, tolerance: float) -> np.ndarray:
        """Probability that the response has such a step, and that it is this one.

        A step counts as the most important one if its importance is at most ``tolerance`` below the highest. Shape
        ``(K,)``.
        """
        best_S1 = self._best(rule)[:, None]
        return ((best_S1 >= least - 1e-9) & (self.importance(rule) >= best_S1 - tolerance - 1e-9)).mean(axis=0)

    def regret_K(self, rule: str) -> np.ndarray:
        """Expected importance of the best step minus that of each step. Shape ``(K,)``."""
        return (self._best(rule)[:, None] - self.importance(rule)).mean(axis=0)

    def _best(self, rule: str) -> np.ndarray:
        return np.nanmax(self.importance(rule), axis=1)


def posterior(
    ends_K: Sequence[int],
    outcome: float,
    rewards_KM: Sequence[Sequence[float]],
    bounds: Bounds = BOUNDS,
    seed: int = 0,
) -> np.ndarray:
    """Curves from the posterior distribution of the values, given continuations at each state.

    The prior is the belief of :mod:`verl_gpo.core.curve` without log-probs: most steps change nothing. So what the
    search assumes about log-probs is tested and not taken for granted.

    Args:
        ends_K: exclusive token positions of the steps' ends.
        outcome: reward of the response.
        rewards_KM: rewards of the continuations from ``s_0 .. s_{K-1}``; a state may have none.
        bounds: bounds of the reward.
        seed: of the draws.

    Returns:
        Values in units of the reward. Shape ``(CURVES, K + 1)``.
    """
    shares_KM = [[bounds.share(reward) for reward in rewards] for rewards in rewards_KM]
    successes_K, counts_K = np.array([sum(s) for s in shares_KM]), np.array([float(len(s)) for s in shares_KM])
    curve = ValueCurve(ends_K, bounds.share(outcome))
    drawn = curve.sample(successes_K, counts_K, CURVES, np.random.default_rng(seed))
    return bounds.low + (bounds.high - bounds.low) * drawn
