"""Two methods of a grid, compared evaluation by evaluation: ``python -m scripts.experiments compare``.

The pages compare runs at their end, and this compares them on the way. It uses the seeds that both methods have:
accuracies are means over these seeds, and differences are paired by seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scripts.experiments.cells import p_value, points, ratio, table
from scripts.experiments.rows import Run, by_cell
from scripts.experiments.tables import tokens_to_reach
from verl_gpo.statistics import geometric, paired_by_seed


def pair(runs: Sequence[Run], place: str, ours: str, theirs: str) -> str:
    """A table with a row for each training step after which both were evaluated, and a sentence below it.

    The sentence says for what share of the second method's tokens the first one reaches its final accuracy.

    Args:
        runs: all runs.
        place: ``GRID/REGIME``.
        ours, theirs: names of methods as in tables; the settings after a name may come in any order.

    Raises:
        ValueError: there are no such runs, or no seed that both methods have.
    """
    grid, _, regime = place.partition("/")
    found = {
        name: seeds for (_, name), seeds in by_cell([r for r in runs if (r.grid, r.regime) == (grid, regime)]).items()
    }
    if not found:
        places = ", ".join(dict.fromkeys(f"{run.grid}/{run.regime}" for run in runs))
        raise ValueError(f"{place}: must be one of {places or 'the places with rows, and there are none'}")
    one, other = (found[_found(place, name, list(found))] for name in (ours, theirs))
    seeds = sorted(set(one) & set(other))
    if not seeds:
        raise ValueError(f"{place}: {ours} and {theirs} have no seed in common")
    both = [[{p.training_step: p for p in side[seed].points} for side in (one, other)] for seed in seeds]
    rows = []
    for step in sorted(set.intersection(*(set(curve) for sides in both for curve in sides))):
        a, b = ([sides[side][step] for sides in both] for side in (0, 1))
        difference = paired_by_seed([p.accuracy - q.accuracy for p, q in zip(a, b, strict=True)])
        spent = geometric([p.tokens / q.tokens for p, q in zip(a, b, strict=True) if q.tokens])
        means = (f"{100 * statistics.fmean(p.accuracy for p in side):.1f}" for side in (a, b))
        rows.append((step, *means, points(difference), p_value(difference), f"{spent.mean:.2f}" if spent else ""))
    head = ("training step", f"{ours}, %", f"{theirs}, %", "points [95 %]", "p", "x tokens")
    text = f"{place}, seeds {', '.join(map(str, seeds))}\n\n{table(head, rows, 0)}"
    if there := tokens_to_reach(one, other):
        share = ratio(there.of_whole, there.bound)
        text += f"\n\n{there.reached} of {there.seeds} seeds of {ours} "
        text += f"reach the final accuracy of {theirs}, for {share} of its tokens"
    return text


def _found(place: str, wanted: str, names: Sequence[str]) -> str:
    method, *settings = wanted.split()
    for name in names:
        if name.split()[:1] == [method] and sorted(name.split()[1:]) == sorted(settings):
            return name
    raise ValueError(f"{place}: {wanted}: must be one of {', '.join(repr(name) for name in names)}")
