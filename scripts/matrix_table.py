"""Rows of the matrix to a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from verl_gpo.evaluation.statistics import bootstrap_interval, paired

Row = dict[str, Any]


def _interval(low: float, high: float) -> str:
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _difference(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """Of the seeds that both have: mean difference in percent points, 95 % interval over problems, p."""
    seeds = {row["seed"] for row in ours} & {row["seed"] for row in theirs}
    if not seeds:
        return ""
    a, b = (np.mean([row["accuracies"] for row in rows if row["seed"] in seeds], axis=0) for rows in (theirs, ours))
    result = paired([(a, b)])
    return f"{100 * result.difference:+.1f} {_interval(result.low, result.high)}, p={result.p:.3f}"


def markdown(rows: Sequence[Row]) -> str:
    """One line for each optimizer and method: means over seeds.

    The interval is the bootstrap's over problems, of accuracies averaged over seeds; the range is that of the seeds.
    The last column compares with ``plain`` on the same problems and seeds.
    """
    lines = [
        "| optimizer | method | seeds | accuracy, % [95 %] | range of seeds | generated tokens | rows "
        "| optimizer steps | seconds | against plain [95 %] |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["algo"], row["method"]), []).append(row)
    for algo in dict.fromkeys(row["algo"] for row in rows):
        for method in ("plain", "random", "gpo"):
            cells = groups.get((algo, method))
            if not cells:
                continue
            by_problem = np.mean([cell["accuracies"] for cell in cells], axis=0)
            (low,), (high,) = bootstrap_interval(by_problem)
            means = [100 * cell["accuracy"] for cell in cells]
            counts = (
                f"{np.mean([cell[k] for cell in cells]):,.0f}" for k in ("tokens", "rows", "optimizer_steps", "seconds")
            )
            against = _difference(cells, groups.get((algo, "plain"), [])) if method != "plain" else ""
            lines.append(
                f"| {algo} | {method} | {len(cells)} | {100 * by_problem.mean():.1f} {_interval(low, high)} "
                f"| {min(means):.1f} to {max(means):.1f} | {' | '.join(counts)} | {against} |"
            )
    return "\n".join(lines)
