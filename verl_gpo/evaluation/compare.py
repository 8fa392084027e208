"""Compares two runs problem by problem, to see whether one checkpoint is better than the other.

    python -m verl_gpo.evaluation compare RUN_A RUN_B

prints both accuracies, the difference with its interval, and a p-value.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..inference.fingerprint import difference
from ..statistics import Paired, paired
from .run import complete, read_record
from .samples import Sample
from .summary import percent

_MACRO = "macro average"
Problems = dict[tuple[int, str], float]


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, list[list[Sample]]]]:
    """Record and samples of a finished run.

    Raises:
        ValueError: the folder has no finished run.
    """
    record = read_record(folder)
    if record is None:
        raise ValueError(f"{folder}: no run of python -m verl_gpo.evaluation (it has no run.json)")
    found, lacking = complete(folder, record)
    if lacking:
        raise ValueError(f"{folder}: {', '.join(lacking.values())}; call its evaluation again to complete it")
    return record, found


def pair(a: list[list[Sample]], b: list[list[Sample]]) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies ``(P,)`` of the problems that both runs have: the same row of the file with the same content."""
    one, other = (
        {(row[0].index, row[0].problem): float(np.mean([sample.accuracy for sample in row])) for row in rows}
        for rows in (a, b)
    )
    common = [key for key in one if key in other]
    return np.array([one[key] for key in common]), np.array([other[key] for key in common])


def compare(folder_a: Path, folder_b: Path, seed: int = 0) -> tuple[dict[str, Paired], list[str]]:
    """Paired comparisons by benchmark, with the macro average last if there are several, and notes on differences.

    Raises:
        ValueError: a run is not finished, or they have no problem in common.
    """
    (record_a, samples_a), (record_b, samples_b) = read_run(folder_a), read_run(folder_b)
    notes = [
        f"{key} differs: {there!r} in A, {here!r} in B"
        for key, (there, here) in difference(record_a["settings"], record_b["settings"]).items()
        if key != "model"
    ]
    notes += [f"{name} is in one run only" for name in sorted(set(samples_a) ^ set(samples_b))]
    pairs = {}
    for name in (name for name in samples_a if name in samples_b):
        rows_a, rows_b = samples_a[name], samples_b[name]
        values = pair(rows_a, rows_b)
        if len(values[0]) < max(len(rows_a), len(rows_b)):
            notes.append(f"{name}: {len(values[0])} problems in common, of {len(rows_a)} in A and {len(rows_b)} in B")
        if len(rows_a[0]) != len(rows_b[0]):
            notes.append(f"{name}: k differs: {len(rows_a[0])} in A, {len(rows_b[0])} in B")
        if len(values[0]):
            pairs[name] = values
    if not pairs:
        raise ValueError(f"{folder_a} and {folder_b}: no problem in common")
    results = {name: paired([values], seed=seed) for name, values in pairs.items()}
    if len(pairs) > 1:
        results[_MACRO] = paired(list(pairs.values()), seed=seed)
    return results, notes


def table(results: dict[str, Paired]) -> Table:
    view = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    view.add_column("benchmark", overflow="fold")
    for column in ("problems", "A", "B", "B - A [95 %]", "p"):
        view.add_column(column, justify="right", no_wrap=True)
    for name, result in results.items():
        view.add_row(
            name,
            f"{result.problems:,}",
            percent(result.a),
            percent(result.b),
            f"{percent(result.difference, True)} \\[{percent(result.low, True)}, {percent(result.high, True)}]",
            f"{result.p:.4f}",
        )
    return view


def plot(results: dict[str, Paired], path: Path, labels: tuple[str, str]) -> None:
    """Differences with their intervals into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 1.4 + 0.5 * len(results)), layout="constrained")
    for place, result in enumerate(results.values()):
        center = 100 * result.difference
        error = np.maximum([[center - 100 * result.low], [100 * result.high - center]], 0)
        axes.errorbar(center, place, xerr=error, fmt="o", capsize=4, color="C0")
    axes.axvline(0, color="gray", lw=1)
    names = [f"{name} (p = {result.p:.3f})" for name, result in results.items()]
    axes.set_yticks(range(len(results)), names)
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set(xlabel=f"points, {labels[1]} minus {labels[0]}")
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.evaluation compare", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("run_a", type=Path, help="--out of an evaluation")
    parser.add_argument("run_b", type=Path, help="--out of another")
    parser.add_argument("--out", type=Path, help="folder for compare.json and compare.png (default: RUN_B)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        results, notes = compare(args.run_a, args.run_b, args.seed)
    except ValueError as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    out = args.out or args.run_b
    out.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    console.print(f"A: {args.run_a}\nB: {args.run_b}", soft_wrap=True)
    console.print(table(results))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    rows = {name: asdict(result) for name, result in results.items()}
    record = {"a": str(args.run_a), "b": str(args.run_b), "notes": notes, "benchmarks": rows}
    (out / "compare.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    labels = ("A", "B") if args.run_a.name == args.run_b.name else (args.run_a.name, args.run_b.name)
    plot(results, out / "compare.png", labels)
    console.print(f"percent; written: {out / 'compare.json'}, {out / 'compare.png'}", soft_wrap=True)
    return 0
