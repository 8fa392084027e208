"""How far a training has moved the weights, and the accuracy at equal distance.

At the same learning rate, Adam moves the weights farther if the gradients of successive steps agree more. A lead that
remains at equal distance has another cause.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from scripts.experiments.cells import p_value, points, ratio, table
from scripts.experiments.comparison import at_equal_cost
from scripts.experiments.rows import Run, Seeds
from scripts.experiments.tables import curves, pairs_of
from verl_gpo.statistics import Estimate, geometric

#: Parts of the training after which distances are compared: after a third no run has collapsed yet; and at the end.
_SHARES = (Fraction(1, 3), Fraction(1))


def measured(runs: Sequence[Run]) -> list[Run]:
    """The runs whose distance was measured at every evaluation, and grew from each to the next."""
    found = []
    for run in runs:
        moved = [point.distance for point in run.points]
        if len(moved) > 1 and None not in moved and all(a < b for a, b in itertools.pairwise(moved)):
            found.append(run)
    return found


def distances(runs: Sequence[Run]) -> str:
    """A table of methods with the same optimizer settings: distances after equal training steps, and accuracies at
    equal distance.

    Args:
        runs: of one grid.
    """
    rows = []
    for names, ours, theirs in pairs_of(measured(runs)):
        equal = at_equal_cost(curves(ours), curves(theirs), "distance")
        if equal is None:
            continue
        moved = (ratio(farther(ours, theirs, share)) for share in _SHARES)
        compared = (f"{equal.spent:.2f}", points(equal.pairs), p_value(equal.pairs))
        rows.append((*names, equal.pairs.seeds, *moved, *compared))
    head = ("regime", "method", "against", "seeds", "x distance after a third [95 %]", "x distance at the end [95 %]")
    return table((*head, "equal distance", "points [95 %]", "p"), rows, 3)


def farther(ours: Seeds, theirs: Seeds, share: Fraction) -> Estimate | None:
    """The distance after a part of the training steps, as a multiple of the other method's.

    Args:
        share: the part, from 0 to 1.

    Returns:
        None if it was not measured.
    """

    def distance(run: Run) -> float | None:
        step = share * run.training_steps
        return next((point.distance for point in run.points if point.training_step == step), None)

    both = [(distance(ours[seed]), distance(theirs[seed])) for seed in sorted(set(ours) & set(theirs))]
    return geometric([a / b for a, b in both if a and b])
