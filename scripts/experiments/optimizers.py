"""The table of the grid ``optimizers``: each optimizer alone, with a random reset, and with GPO."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scripts.experiments.cells import final_difference, p_value, points, table
from scripts.experiments.rows import Run, Seeds
from scripts.experiments.tables import accuracy

#: A column of the rows, and its title in the table.
COUNTS = {"tokens": "generated tokens", "rows": "rows", "optimizer_steps": "optimizer steps", "seconds": "seconds"}


def optimizers(runs: Sequence[Run]) -> str:
    """One line for each optimizer and method: means over seeds, with Student's t interval over seeds.

    The last columns compare with the optimizer alone, paired by seed.
    """
    cells: dict[str, dict[str, dict[int, Run]]] = {}
    for run in runs:
        cells.setdefault(run.settings.optimizer, {}).setdefault(run.method, {})[run.seed] = run
    lines = []
    for optimizer, methods in sorted(cells.items()):
        plain: Seeds = methods.get(optimizer, {})
        for method in (optimizer, "random", "gpo_paper"):
            if not (seeds := methods.get(method)):
                continue
            means = (statistics.fmean(getattr(run, name) for run in seeds.values()) for name in COUNTS)
            pairs = final_difference(seeds, plain)
            against = ("", "") if method == optimizer else (points(pairs), p_value(pairs))
            lines.append(
                (optimizer, method, len(seeds), accuracy(seeds), *(f"{mean:,.0f}" for mean in means), *against)
            )
    head = (
        "optimizer",
        "method",
        "seeds",
        "accuracy, % [95 %]",
        *COUNTS.values(),
        "points against it alone [95 %]",
        "p",
    )
    return table(head, lines, 2)
