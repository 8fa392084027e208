"""Methods on conversations with tools: what they reached, what they spent, and whether they found the critical turn."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.experiments.cells import table, titled
from scripts.experiments.measures import by_grid, hits
from scripts.experiments.rows import Run
from scripts.experiments.tables import at_equal, final

GRID = "agents"


def agents(runs: Sequence[Run]) -> str:
    """The tables of the grid ``agents``, or that nothing was measured."""
    mine = by_grid(runs).get(GRID)
    if not mine:
        return "Not measured yet."
    started = {(run.regime, run.seed): run.points[0] for run in mine if run.points}
    start = table(
        ("regime", "seed", "accuracy before training, %", "hard turns right, %"),
        [
            (regime, seed, f"{100 * point.accuracy:.1f}", f"{100 * (point.hard_step or 0):.1f}")
            for (regime, seed), point in started.items()
        ],
        1,
    )
    parts = {
        "Before training.": start,
        "At the end.": final(mine),
        "At equal tokens, and at equal seconds.": at_equal(mine),
        "Chosen turns that are critical in truth.": hits(mine),
    }
    return titled(parts)
