"""Calibration results as a table, JSON and a plot, and the setting that they recommend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..config import GPOConfig
from .replay import Case, replay

#: A row: the setting, its name, and its results (:meth:`verl_gpo.calibrate.replay.Outcome.summary`).
Row = dict[str, Any]


#: For each strategy, settings with a lower and a higher cost.
RUNGS: dict[str, list[dict[str, Any]]] = {
    "uniform": [{"n_mc": n} for n in (1, 2, 4, 8, 16)],
    "bisection": [{"n_mc": n} for n in (2, 4, 8, 16)],
    "adaptive": [{"n_mc": 4, "search_budget": b, "stop_confidence": 0.95} for b in (8, 16, 32, 64, 128)],
    "propose": [{"n_reentry": n, "learn_from": "all"} for n in (2, 4, 8)],
    "random": [{}],
    "none": [{}],
}


def ladder(strategies: Sequence[str], base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings with a lower and a higher cost, for each strategy; ``base`` has the settings that they share."""
    return [{**base, "search": strategy, **rung} for strategy in strategies for rung in RUNGS[strategy]]


def measure(
    settings: Mapping[str, Any],
    cases: Sequence[Case],
    repeats: int,
    tolerance: float = 0.0,
    by_confidence: bool = False,
) -> Row:
    """Search all cases with one setting; ``by_confidence``: and say what each ``min_confidence`` would do."""
    outcome = replay(GPOConfig.from_mapping(settings, refuse_unread=False), cases, repeats, tolerance=tolerance)
    more = {"by_confidence": outcome.by_confidence()} if by_confidence else {}
    return {"settings": dict(settings), **outcome.summary(), **more}


def name(settings: Mapping[str, Any]) -> str:
    """A setting in the form of overrides, with the strategy first."""
    rest = [f"{key}={value}" for key, value in settings.items() if key not in ("search", "rule", "min_advantage")]
    return " ".join([settings["search"], *rest] if "search" in settings else rest)


def recommend(rows: Sequence[Row], wanted: float) -> Row | None:
    """The cheapest setting, in tokens, with at least the wanted hit rate; None if there is none."""
    enough = [row for row in rows if row["hit_rate"] >= wanted]
    return min(enough, key=lambda row: row["tokens"] + row["extra_tokens"]) if enough else None


def table(rows: Sequence[Row], root_tokens: float, title: str = "") -> Table:
    """The rows as a rich table; ``root_tokens`` are those of one group, by which costs are divided."""
    view = Table(title=title, title_justify="left")
    view.add_column("setting", overflow="fold")
    for column in ("hit rate", "95 %", "regret", "confidence", "tokens", "/ group", "re-entered"):
        view.add_column(column, justify="right")
    for row in rows:
        view.add_row(
            name(row["settings"]),
            f"{row['hit_rate']:.2f}",
            f"{row['hit_low']:.2f}-{row['hit_high']:.2f}",
            f"{row['regret']:.3f}",
            f"{row['confidence']:.2f}",
            f"{row['tokens']:,.0f}",
            f"{row['tokens'] / root_tokens:.2f}",
            f"{row['reentered']:.0%}",
        )
    return view


def thresholds(row: Row) -> Table:
    """Effect of ``min_confidence`` on one setting, as a rich table."""
    view = Table(title=f"min_confidence of {name(row['settings'])}", title_justify="left")
    for column in ("algorithm.gpo.min_confidence", "re-entered", "of these at a critical step"):
        view.add_column(column, justify="right")
    for one in row["by_confidence"]:
        view.add_row(f"{one['min_confidence']:.1f}", f"{one['reentered']:.0%}", f"{one['precision']:.0%}")
    return view


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot hit rate against Monte Carlo tokens, with intervals; one line for each strategy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for strategy in dict.fromkeys(row["settings"]["search"] for row in rows):
        mine = sorted((r for r in rows if r["settings"]["search"] == strategy), key=lambda r: r["tokens"])
        tokens = [max(row["tokens"], 1.0) for row in mine]
        rates = [row["hit_rate"] for row in mine]
        below = [max(row["hit_rate"] - row["hit_low"], 0.0) for row in mine]
        above = [max(row["hit_high"] - row["hit_rate"], 0.0) for row in mine]
        axes.errorbar(tokens, rates, yerr=[below, above], marker="o", capsize=3, label=strategy)
    axes.set_xscale("log")
    axes.set_xlabel("Monte Carlo tokens a response")
    axes.set_ylabel("hit rate on the critical step")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _known(value: Any) -> Any:
    """The value with null instead of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def write(out: Path, rows: Sequence[Row], about: Mapping[str, Any], wanted: float, console: Console) -> None:
    """Print the table and the recommendation, and write ``calibration.json`` and ``calibration.png``."""
    best = recommend(rows, wanted)
    console.print(table(rows, about["root_tokens"], f"{about['responses']} responses, {about['steps']:.1f} steps each"))
    if best is None:
        top = max(rows, key=lambda row: row["hit_rate"])
        console.print(f"no setting reaches a hit rate of {wanted:.2f}; the best is {top['hit_rate']:.2f}:")
        best_line = top
    else:
        console.print(f"cheapest setting with a hit rate of {wanted:.2f} or more:")
        best_line = best
    for key, value in best_line["settings"].items():
        console.print(f"  algorithm.gpo.{key}={value}", highlight=False)
    if best_line.get("by_confidence"):
        console.print(thresholds(best_line))
    record = {**about, "wanted": wanted, "recommended": None if best is None else best["settings"], "rows": list(rows)}
    (out / "calibration.json").write_text(json.dumps(_known(record), indent=1, allow_nan=False) + "\n")
    plot(rows, out / "calibration.png")
    console.print(f"written: {out / 'calibration.json'}, {out / 'calibration.png'}", highlight=False)
