"""Two methods over seeds: differences paired by seed, at the end, at equal cost, and the cost of equal accuracy.

The seed is the unit: runs of one seed share data and evaluation problems, so a difference is taken within a seed, and
what varies over seeds is its error. Student's t, with as few seeds as there are.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.experiments.rows import Point
from verl_gpo.report.runs import Estimate, estimate


def t_p_value(t: float, degrees: int) -> float:
    """Two-sided p-value of Student's t.

    The finite sums of Abramowitz & Stegun 1964, 26.7.3 and 26.7.4, which are exact for whole degrees of freedom.

    Raises:
        ValueError: fewer than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"degrees={degrees}: must be at least 1")
    if math.isinf(t):
        return 0.0
    angle = math.atan(abs(t) / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for index in range(1, degrees // 2 + 1):
        total += term
        term *= cosine**2 * ((2 * index) / (2 * index + 1) if odd else (2 * index - 1) / (2 * index))
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return min(max(1 - inside, 0.0), 1.0)


@dataclass(frozen=True)
class SeedPairs:
    """One method against another on the seeds that both have.

    Attributes:
        difference: mean over seeds, with its 95 % interval from two seeds on.
        p: of no difference, paired t-test; None with one seed, or where all seeds differ by the same amount.
        seeds: how many.
    """

    difference: Estimate
    p: float | None
    seeds: int


def paired_by_seed(differences: Sequence[float]) -> SeedPairs | None:
    """The paired t-test over seeds; None without a seed that both have."""
    if not differences:
        return None
    found, count = estimate(differences), len(differences)
    if count < 2:
        return SeedPairs(found, None, count)
    spread = statistics.stdev(differences)
    if spread <= 1e-12:
        return SeedPairs(found, 1.0 if abs(found.mean) <= 1e-12 else None, count)
    return SeedPairs(found, t_p_value(found.mean / (spread / math.sqrt(count)), count - 1), count)


def geometric(ratios: Sequence[float]) -> Estimate | None:
    """Geometric mean of ratios, its interval from the t interval of their logarithms; None without any."""
    if not ratios:
        return None
    logs = estimate([math.log(ratio) for ratio in ratios])
    if logs.low is None or logs.high is None:
        return Estimate(math.exp(logs.mean))
    return Estimate(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high))


def accuracy_at(points: Sequence[Point], cost: str, spent: float) -> float | None:
    """Accuracy of a run when it had spent so much, on the line between two evaluations; None outside of them.

    Args:
        points: evaluations in order.
        cost: ``tokens``, ``seconds`` or ``distance``.
        spent: of that.
    """
    if not points or not getattr(points[0], cost) <= spent <= getattr(points[-1], cost):
        return None
    return float(np.interp(spent, [getattr(point, cost) for point in points], [point.accuracy for point in points]))


@dataclass(frozen=True)
class EqualCost:
    """A comparison at the most that both runs of a seed had spent.

    Attributes:
        pairs: differences of accuracy.
        spent: tokens, seconds or distance at which they were taken, mean over seeds.
    """

    pairs: SeedPairs
    spent: float


def at_equal_cost(
    ours: Mapping[int, Sequence[Point]], theirs: Mapping[int, Sequence[Point]], cost: str
) -> EqualCost | None:
    """Compare at equal ``tokens``, ``seconds`` or ``distance``; None without a seed that both have evaluations of.

    Args:
        ours, theirs: evaluations in order, by seed.
    """
    differences, spent = [], []
    for seed in sorted(set(ours) & set(theirs)):
        a, b = ours[seed], theirs[seed]
        if not a or not b:
            continue
        most = min(getattr(a[-1], cost), getattr(b[-1], cost))
        one, other = accuracy_at(a, cost, most), accuracy_at(b, cost, most)
        if one is not None and other is not None:
            differences.append(one - other)
            spent.append(most)
    pairs = paired_by_seed(differences)
    return None if pairs is None else EqualCost(pairs, statistics.fmean(spent))


def cost_to_reach(points: Sequence[Point], accuracy: float, cost: str = "tokens") -> float | None:
    """What a run had spent when it first had an accuracy, on the line between evaluations; None if it never had."""
    if points and points[0].accuracy >= accuracy:
        return getattr(points[0], cost)
    for before, after in itertools.pairwise(points):
        if after.accuracy >= accuracy:
            part = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
            return getattr(before, cost) + part * (getattr(after, cost) - getattr(before, cost))
    return None


@dataclass(frozen=True)
class Reach:
    """What a method costs until it has a baseline's final accuracy, over what the baseline costs.

    A run that never has it counts as what it spent in all, so the ratio is then a lower bound, without an interval.

    Attributes:
        of_whole: over all that the baseline spent.
        of_first: over what the baseline had spent when it first had that accuracy.
        reached, seeds: how many seeds reached it, and of how many.
    """

    of_whole: Estimate
    of_first: Estimate
    reached: int
    seeds: int

    @property
    def bound(self) -> bool:
        """Whether the ratios are lower bounds."""
        return self.reached < self.seeds


def reach(
    ours: Mapping[int, Sequence[Point]], theirs: Mapping[int, Sequence[Point]], cost: str = "tokens"
) -> Reach | None:
    """Cost of a baseline's final accuracy; None without a seed on which there is something to reach.

    A seed counts if both have evaluations of it, and the baseline's last one is above the first of both: what is there
    from the start costs nothing.
    """
    whole, first, reached = [], [], 0
    for seed in sorted(set(ours) & set(theirs)):
        a, b = ours[seed], theirs[seed]
        if len(a) < 2 or len(b) < 2:
            continue
        target = b[-1].accuracy
        if target <= max(a[0].accuracy, b[0].accuracy):
            continue
        had, own = cost_to_reach(a, target, cost), cost_to_reach(b, target, cost)
        reached += had is not None
        spent = getattr(a[-1], cost) if had is None else had
        whole.append(spent / getattr(b[-1], cost))
        first.append(spent / own)
    one, other = geometric(whole), geometric(first)
    if one is None or other is None:
        return None
    if reached < len(whole):
        one, other = Estimate(one.mean), Estimate(other.mean)
    return Reach(one, other, reached, len(whole))
