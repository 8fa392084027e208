"""Two methods over seeds: differences paired by seed, at the end, at equal cost, and the cost of equal accuracy.

The seed is the unit: runs of one seed share data and evaluation problems, so a difference is taken within a seed, and
what varies over seeds is its error. Student's t, with as few seeds as there are.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.experiments.rows import Point
from verl_gpo.statistics import Estimate, SeedPairs, geometric, paired_by_seed


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
