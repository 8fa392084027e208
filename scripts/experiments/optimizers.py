"""Rows of the matrix to a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.evidence_format import interval, p_value, points, table
from scripts.evidence_statistics import paired_by_seed
from verl_gpo.report.runs import estimate

Row = dict[str, Any]
#: What a row counts, and what its column is called.
COUNTS = {"tokens": "generated tokens", "rows": "rows", "optimizer_steps": "optimizer steps", "seconds": "seconds"}


def _against(ours: Mapping[int, Row], theirs: Mapping[int, Row]) -> tuple[str, str]:
    """Difference in percent points on the seeds that both have, and p."""
    seeds = sorted(set(ours) & set(theirs))
    pairs = paired_by_seed([ours[seed]["accuracy"] - theirs[seed]["accuracy"] for seed in seeds])
    return points(pairs), p_value(pairs)


def markdown(rows: Sequence[Row]) -> str:
    """One line for each optimizer and method: means over seeds, with Student's t interval over seeds.

    The last columns compare with ``plain``, paired by seed.
    """
    cells: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        cells.setdefault((row["algo"], row["method"]), {})[row["seed"]] = row
    lines = []
    for algo in dict.fromkeys(row["algo"] for row in rows):
        for method in ("plain", "random", "gpo"):
            if not (cell := cells.get((algo, method))):
                continue
            accuracy = estimate([row["accuracy"] for row in cell.values()])
            reached = f"{100 * accuracy.mean:.1f} {interval(accuracy, 100, '.1f')}"
            means = (statistics.fmean(row[name] for row in cell.values()) for name in COUNTS)
            against = ("", "") if method == "plain" else _against(cell, cells.get((algo, "plain"), {}))
            lines.append((algo, method, len(cell), reached, *(f"{mean:,.0f}" for mean in means), *against))
    head = ("optimizer", "method", "seeds", "accuracy, % [95 %]", *COUNTS.values(), "points against plain [95 %]", "p")
    return table(head, lines, 2)
