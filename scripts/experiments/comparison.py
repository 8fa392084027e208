"""Two methods compared over seeds: at equal cost, and by the cost of equal accuracy.

The seed is the unit of all statistics. Runs of one seed share data and evaluation problems, so a difference is taken
within a seed, and its error is estimated from how it varies between seeds, with Student's t.
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
    """The accuracy of a run at a given cost, interpolated between two evaluations.

    Args:
        points: evaluations in order.
        cost: ``tokens``, ``seconds``, ``rows``, ``optimizer_steps`` or ``distance``.
        spent: the amount of that cost.

    Returns:
        None if the run was not evaluated both before and after that.
    """
    if not points or not getattr(points[0], cost) <= spent <= getattr(points[-1], cost):
        return None
    return float(np.interp(spent, [getattr(point, cost) for point in points], [point.accuracy for point in points]))


@dataclass(frozen=True)
class EqualCost:
    """A comparison at equal cost: for each seed, the largest cost that both runs came to.

    Attributes:
        pairs: differences of accuracy.
        spent: that cost, mean over seeds.
    """

    pairs: SeedPairs
    spent: float


def at_equal_cost(
    ours: Mapping[int, Sequence[Point]], theirs: Mapping[int, Sequence[Point]], cost: str
) -> EqualCost | None:
    """Compare two methods at equal cost.

    Args:
        ours, theirs: evaluations in order, by seed.
        cost: ``tokens``, ``seconds``, ``rows``, ``optimizer_steps`` or ``distance``.

    Returns:
        None if there is no seed for which both have evaluations.
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
    """The cost at which a run first had an accuracy, interpolated between evaluations; None if it never had it."""
    if points and points[0].accuracy >= accuracy:
        return getattr(points[0], cost)
    for before, after in itertools.pairwise(points):
        if after.accuracy >= accuracy:
            part = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
            return getattr(before, cost) + part * (getattr(after, cost) - getattr(before, cost))
    return None


@dataclass(frozen=True)
class Reach:
    """The cost at which a method has the final accuracy of a baseline, divided by the cost of the baseline.

    A run that never reaches that accuracy counts with everything that it spent. The ratios are then lower bounds, and
    have no interval.

    Attributes:
        of_whole: the ratio to everything that the baseline spent.
        of_first: the ratio to what the baseline had spent when it first had that accuracy.
        reached: number of seeds that reached it.
        seeds: number of all seeds.
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
    """The cost at which a method reaches the final accuracy of a baseline.

    A seed counts if both methods were evaluated on it, and if the last evaluation of the baseline is above the first
    one
    of both: otherwise that accuracy was there from the start.

    Args:
        ours, theirs: evaluations of the method and of the baseline, in order, by seed.
        cost: ``tokens``, ``seconds`` or ``distance``.

    Returns:
        None if no seed counts.
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
