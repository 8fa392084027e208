"""How far training has moved the weights, and how good they are by then: a section of ``docs/evidence.md``.

At one learning rate Adam goes the farther, the more its gradients agree from step to step. What is left of a method's
lead at equal distance is not owed to that.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from scripts.evidence_format import Seeds, cells, p_value, points, ratio, table
from scripts.evidence_rows import Run, without_optimizer
from scripts.evidence_statistics import at_equal_cost, geometric
from scripts.evidence_tables import pairs_of
from verl_gpo.report.figures import COLORS
from verl_gpo.report.runs import Estimate

#: The grid with a rate chosen for each method.
GRID = "skills"
#: What is drawn, the methods that were run at most rates: name -> colour and marker.
DRAWN = {
    "grpo": (COLORS[0], "o"),
    "grpo:n=4": (COLORS[4], "p"),
    "random": (COLORS[5], "s"),
    "informative": (COLORS[3], "v"),
}
#: In tables ``grpo_tokens`` is GRPO at the grid's own rate.
_ALIAS = {"grpo_tokens": "grpo"}
#: Shares of the training at which distances are compared: before anything has fallen, and at the end.
_SHARES = (Fraction(1, 3), Fraction(1))


def measured(runs: Sequence[Run]) -> list[Run]:
    """Runs whose weights were measured at every evaluation, and moved on from each to the next."""
    found = []
    for run in runs:
        moved = [point.distance for point in run.points]
        if len(moved) > 1 and None not in moved and all(a < b for a, b in itertools.pairwise(moved)):
            found.append(run)
    return found


def distances(runs: Sequence[Run]) -> str:
    """Methods whose optimizer is set alike: distances at equal training steps, and accuracy at equal distance."""
    rows = []
    for names, ours, theirs in pairs_of(measured([run for run in runs if run.grid == GRID])):
        one, other = ({seed: run.points for seed, run in side.items()} for side in (ours, theirs))
        equal = at_equal_cost(one, other, "distance")
        if equal is None:
            continue
        farther = (ratio(_farther(ours, theirs, share)) for share in _SHARES)
        compared = (f"{equal.spent:.2f}", points(equal.pairs), p_value(equal.pairs))
        rows.append((*names, equal.pairs.seeds, *farther, *compared))
    if not rows:
        return f"No rows yet of `python scripts/experiment.py scripts/experiments/{GRID}.yaml`."
    head = ("regime", "method", "against", "seeds", "x distance after a third [95 %]", "x distance at the end [95 %]")
    figure = f"![accuracy over the distance of the weights, grid {GRID}](evidence/distance.png)\n\n"
    return figure + table((*head, "equal distance", "points [95 %]", "p"), rows, 3)


def _farther(ours: Seeds, theirs: Seeds, share: Fraction) -> Estimate | None:
    """Distance after a share of the training steps, as a multiple of the opponent's."""

    def distance(run: Run) -> float | None:
        step = share * run.training_steps
        return next((point.distance for point in run.points if point.training_step == step), None)

    both = [(distance(ours[seed]), distance(theirs[seed])) for seed in sorted(set(ours) & set(theirs))]
    return geometric([a / b for a, b in both if a and b])


def accuracy_over_distance(runs: Sequence[Run], path: Path) -> bool:
    """Draw every run of the methods that were run at most rates, a line each, whatever its optimizer.

    Returns:
        Whether there was anything to draw; without it no file is written.
    """
    curves = cells(measured([run for run in runs if run.grid == GRID]))
    shown: dict[str, dict[str, list[Run]]] = {}
    for (regime, method), seeds in curves.items():
        name = without_optimizer(method)
        if (name := _ALIAS.get(name, name)) in DRAWN:
            shown.setdefault(regime, {}).setdefault(name, []).extend(seeds.values())
    if not shown:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (5.2 * len(shown), 4.2)
    figure, panels = pyplot.subplots(1, len(shown), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axes, (regime, by_name) in zip(panels.flat, sorted(shown.items()), strict=True):
        for name, (color, marker) in DRAWN.items():
            for number, run in enumerate(by_name.get(name, ())):
                moved, accuracy = zip(*((point.distance, point.accuracy) for point in run.points), strict=True)
                label = None if number else name
                axes.plot(moved, accuracy, color=color, lw=0.8, marker=marker, ms=3.5, alpha=0.7, label=label)
        # Where all is lost, weights go on moving.
        reached = [point for of_method in by_name.values() for run in of_method for point in run.points]
        far = max((point.distance for point in reached if point.accuracy > 0.5), default=1.0)
        axes.set(title=regime, xlabel="distance of the weights from the start", ylim=(0, 1.02), xlim=(0, 1.05 * far))
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("accuracy")
    panels[0, -1].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
