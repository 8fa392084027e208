"""The results of a run: a table, ``summary.json`` and ``summary.png``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..graders.math import normalise
from ..statistics import bootstrap_interval
from .measures import avg_at_k, maj_at_k, pass_at_k
from .samples import Sample

Row = dict[str, Any]


def votes(predictions_N: Sequence[str | None]) -> list[int]:
    """Answers as numbers, equal if their normalised text is; -1 for none. The grader is not used for it."""
    known: dict[str, int] = {}
    texts = [normalise(prediction or "") for prediction in predictions_N]
    return [known.setdefault(text, len(known)) if text else -1 for text in texts]


def measure(rows_PN: Sequence[Sequence[Sample]], seed: int = 0) -> Row:
    """Statistics of a benchmark with the same number of samples for each problem.

    Returns:
        ``avg``, and ``pass`` and ``maj`` by k (1, 2, 4 ... and all), each ``{"value", "low", "high"}``; ``maj`` is None
        if the reward function reports no predictions. ``tokens`` is a mean, ``truncated`` and ``unanswered`` shares.
    """
    samples = [sample for row in rows_PN for sample in row]
    count, n = len(rows_PN), len(rows_PN[0])
    accuracy_PN = np.array([[sample.accuracy for sample in row] for row in rows_PN])
    ks = sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n})
    columns = {("avg", n): avg_at_k(accuracy_PN)}
    right_P = (accuracy_PN == 1.0).sum(axis=1)
    columns |= {("pass", k): pass_at_k(right_P, n, k) for k in ks}
    voting = all(sample.prediction is not None for sample in samples)
    if voting:
        votes_PN = np.array([votes([sample.prediction for sample in row]) for row in rows_PN])
        columns |= {("maj", k): maj_at_k(votes_PN, accuracy_PN, k, seed=seed) for k in ks}
    values_PS = np.stack(list(columns.values()), axis=1)
    lows, highs = bootstrap_interval(values_PS, seed=seed)
    means = values_PS.mean(axis=0)
    stated = {
        key: {"value": float(mean), "low": float(low), "high": float(high)}
        for key, mean, low, high in zip(columns, means, lows, highs, strict=True)
    }
    return {
        "problems": count,
        "k": n,
        "avg": stated["avg", n],
        "pass": {str(k): stated["pass", k] for k in ks},
        "maj": {str(k): stated["maj", k] for k in ks} if voting else None,
        "tokens": float(np.mean([sample.tokens for sample in samples])),
        "truncated": float(np.mean([sample.finish == "length" for sample in samples])),
        "unanswered": float(np.mean([not sample.prediction for sample in samples])) if voting else None,
    }


def percent(share: float, signed: bool = False) -> str:
    return f"{100 * share:{'+' if signed else ''}.1f}"


def table(rows: dict[str, Row]) -> Table:
    """One row for each benchmark, in percent; pass@k and maj@k with all samples."""
    view = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1))  # narrow enough for 80 columns
    view.add_column("benchmark", overflow="fold")
    for column in ("problems", "k", "avg@k [95 %]", "pass@k", "maj@k", "tokens", "cut off"):
        view.add_column(column, justify="right", no_wrap=True)
    for name, row in rows.items():
        k = str(row["k"])
        most = row["maj"] and row["maj"][k]
        view.add_row(
            name,
            f"{row['problems']:,}",
            k,
            f"{percent(row['avg']['value'])} \\[{percent(row['avg']['low'])}, {percent(row['avg']['high'])}]",
            percent(row["pass"][k]["value"]),
            percent(most["value"]) if most else "-",
            f"{row['tokens']:,.0f}",
            percent(row["truncated"]),
        )
    return view


def plot(rows: dict[str, Row], path: Path) -> None:
    """avg@k with intervals, and pass@k and maj@k over k, into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (bars, curves) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    colors = [f"C{i % 10}" for i in range(len(rows))]
    for place, (color, row) in enumerate(zip(colors, rows.values(), strict=True)):
        stated = row["avg"]
        error = [[stated["value"] - stated["low"]], [stated["high"] - stated["value"]]]
        bars.bar(place, stated["value"], 0.6, color=color, yerr=np.maximum(error, 0), capsize=4)
    names = [f"{name}\navg@{row['k']}" for name, row in rows.items()]
    bars.set_xticks(range(len(rows)), names, rotation=30 if len(rows) > 4 else 0)
    bars.set(ylabel="accuracy", xlim=(-0.7, len(rows) - 0.3), ylim=(0, 1.02))
    for color, (name, row) in zip(colors, rows.items(), strict=True):
        for kind, style in (("pass", "o-"), ("maj", "s--")):
            points = row[kind]
            if points is None:
                continue
            ks = [int(k) for k in points]
            curves.plot(ks, [p["value"] for p in points.values()], style, color=color, label=f"{name}, {kind}@k")
            if kind == "pass":
                low, high = ([p[end] for p in points.values()] for end in ("low", "high"))
                curves.fill_between(ks, low, high, color=color, alpha=0.15)
    curves.set_xscale("log", base=2)
    ticks = sorted({int(k) for row in rows.values() for k in row["pass"]})
    curves.set_xticks(ticks, [str(k) for k in ticks])
    curves.set(xlabel="k", ylim=(0, 1.02))
    curves.legend(fontsize=8, frameon=False)
    for axes in (bars, curves):
        axes.grid(alpha=0.3, axis="y")
        axes.set_axisbelow(True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def write(out: Path, record: dict[str, Any], rows: dict[str, Row], console: Console) -> None:
    """Print the table, and write ``summary.json`` and ``summary.png``."""
    about = {key: record[key] for key in ("model", "settings", "versions")}
    (out / "summary.json").write_text(json.dumps({**about, "benchmarks": rows}, indent=1) + "\n", encoding="utf-8")
    plot(rows, out / "summary.png")
    console.print(table(rows))
    console.print(f"percent; written: {out / 'summary.json'}, {out / 'summary.png'}", highlight=False, soft_wrap=True)
