"""The files of results: ``runs.csv``, ``evaluations.csv`` and ``accuracies.jsonl``. They are read, checked,
extended."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from scripts.experiments.grids import Grid
from scripts.experiments.rows import SHARES, Point, Run
from scripts.experiments.settings import Settings

FOLDER = Path(__file__).with_name("results")
RUNS, EVALUATIONS, ACCURACIES = "runs.csv", "evaluations.csv", "accuracies.jsonl"
Row = TypeVar("Row", Run, Point)


def columns(kind: type) -> dict[str, str]:
    """The columns of a file: name -> type. ``kind`` is :class:`Run` (with its settings) or :class:`Point`."""
    found: dict[str, str] = {}
    for field in fields(kind):
        if field.name == "settings":
            found |= {one.name: str(one.type) for one in fields(Settings)}
        elif field.default is MISSING:
            found[field.name] = str(field.type)
    return found


def read_results(folder: Path, grids: Mapping[str, Grid]) -> list[Run]:
    """The finished runs with their evaluations, in the order of the file. Without files there are no runs.

    Evaluations of runs that did not finish are left out.

    Args:
        folder: of the files.
        grids: by name. A run of a grid that is not among them is named as if its method had the default settings.

    Raises:
        ValueError: a row that cannot be right; the message names file and line, or file and run.
    """
    runs = _read(folder / RUNS, Run)
    points: dict[int, list[Point]] = {}
    for point in _read(folder / EVALUATIONS, Point):
        points.setdefault(point.run, []).append(point)
    for column in ("run", "key"):
        values = [getattr(run, column) for run in runs]
        if len(set(values)) < len(values):
            twice = next(run for run in runs if values.count(getattr(run, column)) > 1)
            raise ValueError(f"{folder / RUNS}: {_name(twice)} has more than one row; a repeat needs a grid of its own")
    curves = []
    for run in runs:
        base = grids[run.grid].base(run.method, run.regime, run.settings.optimizer) if run.grid in grids else Settings()
        curve = _curve(folder / EVALUATIONS, run, points.get(run.run, []))
        curves.append(replace(run, base=base, points=curve))
    for grid in dict.fromkeys(run.grid for run in curves):
        for (regime, seed), accuracies in _starts(compared_with(grid, curves, grids)).items():
            if len(accuracies) > 1:
                raise ValueError(f"{folder / EVALUATIONS}: {regime} {seed}: {_NOT_ONE_MODEL} ({_listed(accuracies)})")
    return curves


def compared_with(grid: str, runs: Iterable[Run], grids: Mapping[str, Grid]) -> list[Run]:
    """The runs that those of a grid are compared with: its own if it is apart, otherwise those of all that are not."""
    apart = {name for name, one in grids.items() if one.apart}
    return [run for run in runs if (run.grid == grid if grid in apart else run.grid not in apart)]


def next_number(folder: Path) -> int:
    """The next free number. Evaluations of runs that did not finish count as well."""
    used = [0]
    for file in (RUNS, EVALUATIONS):
        if (folder / file).exists():
            with (folder / file).open(newline="", encoding="utf-8") as lines:
                used += [int(row["run"]) for row in csv.DictReader(lines)]
    return max(used) + 1


def append(folder: Path, run: Run, accuracies: Sequence[float]) -> None:
    """Add a finished run to the files. Its own row comes last, so that a run in ``runs.csv`` is always complete.

    Args:
        folder: of the files.
        run: with its evaluations.
        accuracies: the accuracy of each held-out problem at the last evaluation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _append(folder / EVALUATIONS, run.points, Point)
    with (folder / ACCURACIES).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"run": run.run, "accuracies": list(accuracies)}) + "\n")
    _append(folder / RUNS, [run], Run)


def _append(file: Path, rows: Iterable[Run | Point], kind: type) -> None:
    names = columns(kind)
    with file.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(names), lineterminator="\n")
        if file.stat().st_size == 0:
            writer.writeheader()
        writer.writerows({name: _text(_value(row, name)) for name in names} for row in rows)


def _value(row: Run | Point, column: str) -> Any:
    return getattr(row, column) if hasattr(row, column) else getattr(row.settings, column)


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value == int(value) else f"{value:.6g}"
    return value


_NOT_ONE_MODEL = "runs started from models of different accuracies, so they cannot be compared"


def _starts(runs: Iterable[Run]) -> dict[tuple[str, int], set[float]]:
    """The accuracies of the models from which the runs of each regime and seed started."""
    found: dict[tuple[str, int], set[float]] = {}
    for run in runs:
        if run.points and run.points[0].training_step == 0:
            found.setdefault((run.regime, run.seed), set()).add(run.points[0].accuracy)
    return found


def check_start(folder: Path, runs: Iterable[Run], regime: str, seed: int, accuracy: float) -> None:
    """Refuse new runs that would start from another model than the runs that they are compared with.

    The supervision gives another model on another machine. Runs from such a model belong into another folder.

    Args:
        folder: of the ``runs``, for the message.
        runs: that are there.
        regime, seed: of the new runs.
        accuracy: of the model from which the new runs would start.

    Raises:
        ValueError: the runs that are there started from another model.
    """
    there = _starts(runs).get((regime, seed), set())
    if there and float(f"{accuracy:.6g}") not in there:
        raise ValueError(
            f"{folder / EVALUATIONS}: {regime} {seed}: {_NOT_ONE_MODEL} ({_listed(there)}, and {accuracy:.6g} "
            "of the model made here): give another folder, --results, or the models of these runs, --work"
        )


def _listed(accuracies: Iterable[float]) -> str:
    return ", ".join(f"{accuracy:g}" for accuracy in sorted(accuracies))


def _name(run: Run) -> str:
    return f"{run.grid} {run.regime} {run.name} {run.seed} (run {run.run})"


def _curve(file: Path, run: Run, points: Iterable[Point]) -> tuple[Point, ...]:
    curve = tuple(sorted(points, key=lambda point: point.training_step))
    for before, after in itertools.pairwise(curve):
        if before.training_step == after.training_step:
            raise ValueError(f"{file}: {_name(run)} has two rows of training step {after.training_step}")
        if after.tokens <= before.tokens or after.seconds <= before.seconds:
            raise ValueError(
                f"{file}: {_name(run)}, training step {after.training_step}: tokens and seconds are of the whole run "
                "so far and must be more than at the evaluation before"
            )
    return curve


def _read(file: Path, kind: type[Row]) -> list[Row]:
    if not file.exists():
        return []
    wanted = columns(kind)
    own = {field.name for field in fields(kind)}
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if lacking := [name for name in wanted if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{file}: has no column {', '.join(lacking)}")
        found = []
        for row in reader:
            cells = {name: _cell(file, reader.line_num, name, kept, row[name]) for name, kept in wanted.items()}
            given = {name: value for name, value in cells.items() if name in own}
            if kind is Run:
                given["settings"] = Settings(**{name: value for name, value in cells.items() if name not in own})
            found.append(kind(**given))
        return found


def _cell(file: Path, line: int, name: str, kind: str, text: str | None) -> Any:
    kind, sign, _ = kind.partition(" | None")
    if sign and text == "":
        return None
    if kind == "str":
        if text:
            return text
    else:
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        highest = 1.0 if name in SHARES else math.inf
        if math.isfinite(value) and 0 <= value <= highest and (kind != "int" or value == int(value)):
            return int(value) if kind == "int" else value
    wanted = {"str": "a text", "int": "a whole number"}.get(kind, "a number")
    raise ValueError(f"{file}, line {line}: {name}={text!r}: must be {wanted}")
