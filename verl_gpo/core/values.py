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
        mean: the estimate; NaN if nothing is known.
        count: how many rewards it averages; 0 for an observed terminal state or an unknown one.
        samples: the continuations that it averages, kept so that they can be shown or become training rows.
        share: the same mean, of rewards that were first mapped to [0, 1] by the declared bounds; the belief uses it.
            An outlier, such as a penalty, then counts as a failure and does not change the scale of all others.
    """

    mean: float
    count: int = 0
    samples: tuple[ScoredContinuation, ...] = ()
    share: float = math.nan

    @property
    def known(self) -> bool:
        return not math.isnan(self.mean)

    def share_of(self, bounds: Bounds) -> float:
        """:attr:`share`, or the share of the mean if the single rewards are not known."""
        return bounds.share(self.mean) if math.isnan(self.share) else self.share

    def interval(self, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
        """95 % Wilson interval of the value, for rewards between ``low`` and ``high``; a point if it was observed.

        Wilson's interval (1927), because the normal approximation has no width at 0/n and n/n, and would treat two
        samples as certain. A reward between the bounds counts as that share of a success. The interval is then rather
        too wide than too narrow, because no reward in an interval has a larger variance than one on its two ends.
        """
        if not self.known:
            return low, high
        if self.count == 0:
            return self.mean, self.mean
        share = min(max((self.mean - low) / (high - low), 0.0), 1.0)
        below, above = wilson_interval(share, self.count)
        return low + below * (high - low), low + above * (high - low)


UNKNOWN = StateValue(math.nan)


@dataclass(frozen=True)
class Bounds:
    """The lowest and the highest reward, as the user declares them (``reward_low``, ``reward_high``)."""

    low: float = 0.0
    high: float = 1.0

    def share(self, reward: float) -> float:
        """A reward as a share of the range; beyond a bound it counts as the bound."""
        return min(max((reward - self.low) / (self.high - self.low), 0.0), 1.0)


def observed_value(reward: float) -> StateValue:
    """Value of a terminal state: its reward, without error."""
    return StateValue(float(reward))


def group_value(rewards_N: Sequence[float], bounds: Bounds = Bounds()) -> StateValue:
    """``V(s_0)`` from the rewards of the root group; rewards that are not finite numbers are left out."""
    return _mean([reward for reward in rewards_N if math.isfinite(reward)], (), bounds)


def monte_carlo_value(
    samples_M: Sequence[ScoredContinuation],
    censored: int = 0,
    partial_rewards: bool = True,
    bounds: Bounds = Bounds(),
) -> StateValue:
    """``V(s_k)`` from the continuations that came back with a reward; unknown if none did.

    It is also unknown if some were censored, or were cut under a reward function that does not score partial text:
    then long answers are missing, and the mean of the others is the value of short answers.

    Args:
        samples_M: the continuations that came back.
        censored: the number of continuations that were given up.
        partial_rewards: whether the reward of a cut continuation is valid.
        bounds: bounds of the reward.
    """
    if censored or (not partial_rewards and any(sample.cut for sample in samples_M)):
        return UNKNOWN
    return _mean([sample.reward for sample in samples_M], tuple(samples_M), bounds)


def _mean(rewards: list[float], samples: tuple[ScoredContinuation, ...], bounds: Bounds) -> StateValue:
    if not rewards:
        return UNKNOWN
    count = len(rewards)
    return StateValue(math.fsum(rewards) / count, count, samples, math.fsum(map(bounds.share, rewards)) / count)


def step_advantages(values_K1: Sequence[StateValue]) -> list[float]:
    """Advantages of the ``K`` steps between ``K + 1`` states: ``A_k = V(s_{k+1}) - V(s_k)``.

    Transitions are deterministic and the reward comes at the end, so ``Q(s_k, y_k) = V(s_{k+1})``. NaN where either
    value is unknown. With all values known the advantages telescope: their sum is ``R(y) - V(s_0)``.
    """
    return [after.mean - before.mean for before, after in zip(values_K1, values_K1[1:], strict=False)]
