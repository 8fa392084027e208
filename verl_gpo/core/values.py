"""Monte Carlo state values (VinePPO's estimator, arXiv 2410.01679; GPO's step 2, arXiv 2509.16456).

``V(s_k)`` is the mean outcome reward of continuations sampled at ``s_k``. Two values cost nothing: ``V(s_K) = R(y)`` is
observed, and ``V(s_0)`` is the mean reward of the rollouts that the group sampled anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..statistics import wilson_interval
from .types import ScoredContinuation


@dataclass(frozen=True)
class StateValue:
    """Estimate of ``V(s_k)``.

    Attributes:
        mean: the estimate, NaN where nothing is known.
        count: how many rewards it averages; 0 for an observed terminal state or an unknown one.
        samples: the continuations behind it, kept so that they can be shown, or learnt from.
    """

    mean: float
    count: int = 0
    samples: tuple[ScoredContinuation, ...] = ()

    @property
    def known(self) -> bool:
        return not math.isnan(self.mean)

    def interval(self, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
        """95 % Wilson interval of the value, for rewards between ``low`` and ``high``; a point where it is observed.

        Wilson's, because the textbook interval has no width at 0/n and n/n and would call two samples certainty
        (Wilson 1927). A reward between the bounds counts as that share of a success, which errs to the wide side: no
        reward on an interval varies more than a coin that lands on its ends.
        """
        if not self.known:
            return low, high
        if self.count == 0:
            return self.mean, self.mean
        share = min(max((self.mean - low) / (high - low), 0.0), 1.0)
        below, above = wilson_interval(share, self.count)
        return low + below * (high - low), low + above * (high - low)


UNKNOWN = StateValue(math.nan)


def observed_value(reward: float) -> StateValue:
    """Value of a terminal state: its reward, without error."""
    return StateValue(float(reward))


def group_value(rewards_N: Sequence[float]) -> StateValue:
    """``V(s_0)`` from the rewards of the root group."""
    if not rewards_N:
        return UNKNOWN
    return StateValue(math.fsum(rewards_N) / len(rewards_N), len(rewards_N))


def monte_carlo_value(samples_M: Sequence[ScoredContinuation]) -> StateValue:
    """``V(s_k)`` from the continuations that survived; unknown when none did."""
    if not samples_M:
        return UNKNOWN
    mean = math.fsum(s.reward for s in samples_M) / len(samples_M)
    return StateValue(mean, len(samples_M), tuple(samples_M))


def step_advantages(values_K1: Sequence[StateValue]) -> list[float]:
    """Advantages of the ``K`` steps between ``K + 1`` states: ``A_k = V(s_{k+1}) - V(s_k)``.

    Transitions are deterministic and the reward comes at the end, so ``Q(s_k, y_k) = V(s_{k+1})``. NaN where either
    value is unknown. With all values known the advantages telescope: their sum is ``R(y) - V(s_0)``.
    """
    return [after.mean - before.mean for before, after in zip(values_K1, values_K1[1:], strict=False)]
