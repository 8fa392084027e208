"""Trains the cells of a grid that have no row yet, and adds a row for each. The same call continues after a stop.

Cells of offline optimizers are trained first, one after the other. The other cells share pipelines
(:mod:`scripts.experiments.pipeline`). If a cell fails, the others are trained nevertheless.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.experiments.grids import Cell, Grid, known_grids
from scripts.experiments.offline import OfflineTraining
from scripts.experiments.pipeline import REPOSITORY, TrainingFailed, consecutive, prepare
from scripts.experiments.results import append, check_start, compared_with, next_number, read_results
from scripts.experiments.rows import Run
from scripts.experiments.trainings import Training, evaluate_start


@dataclass(frozen=True)
class Selection:
    """The part of a grid that is wanted.

    Attributes:
        regimes: names of regimes.
        methods: names of methods as in tables, followed by the settings that differ.
        seeds: seeds.
    """

    regimes: Sequence[str]
    methods: Sequence[str]
    seeds: Sequence[int]

    def cells(self, grid: Grid) -> list[Cell]:
        """The wanted cells, in the order of the grid."""
        return [
            cell
            for cell in grid.cells()
            if cell.regime in self.regimes and cell.name in self.methods and cell.seed in self.seeds
        ]


def select(grid: Grid, regimes: str | None, methods: str | None, seeds: str | None) -> Selection:
    """Read comma-separated names; None selects all.

    Raises:
        ValueError: the grid does not have a name.
    """
    known = {
        "regimes": list(grid.regimes),
        "methods": list(dict.fromkeys(cell.name for cell in grid.cells())),
        "seeds": list(map(str, grid.seeds)),
    }
    chosen = {}
    for option, text in (("regimes", regimes), ("methods", methods), ("seeds", seeds)):
        names = known[option] if text is None else text.split(",")
        if unknown := [name for name in names if name not in known[option]]:
            raise ValueError(f"--{option}={','.join(unknown)}: must be of {', '.join(known[option])}")
        chosen[option] = names
    return Selection(chosen["regimes"], chosen["methods"], list(map(int, chosen["seeds"])))


def missing(grid: Grid, selection: Selection, runs: Iterable[Run]) -> list[Cell]:
    """The selected cells that have no row.

    Raises:
        ValueError: the row of a cell has another number of steps than the grid.
    """
    there = {run.key: run for run in runs}
    found = []
    for cell in selection.cells(grid):
        if run := there.get(cell.key):
            offline = cell.settings.offline
            steps, wanted = (
                (run.optimizer_steps, grid.offline.steps) if offline else (run.training_steps, grid.training_steps)
            )
            if steps != wanted:
                raise ValueError(f"{cell.file_name}: its row is of {steps:g} steps, and the grid is of {wanted}")
        else:
            found.append(cell)
    return found


def run_grid(grid: Grid, selection: Selection, results: Path, work: Path, only_list: bool = False) -> int:
    """Train the selected cells that have no row.

    Args:
        grid: that they belong to.
        selection: of its cells.
        results: folder of the rows.
        work: folder of models and logs.
        only_list: list what is missing, and train nothing.

    Returns:
        The exit status, 1 if a cell failed.

    Raises:
        ValueError: the rows started from other models than those in ``work``.
        TrainingFailed: the problems or the model of a regime could not be made.
    """
    grids = {**known_grids(), grid.grid: grid}
    runs = read_results(results, grids)
    cells = missing(grid, selection, runs)
    print(f"{len(cells)} of {len(selection.cells(grid))} runs are missing", flush=True)
    if only_list:
        print("\n".join(cell.file_name for cell in cells))
        return 0
    online = {cell.file_name: Training(grid, cell, work) for cell in cells if not cell.settings.offline}
    _check_starts(results, work / "log", compared_with(grid.grid, runs, grids), online.values())
    commit, failed = this_commit(), []
    offline = [OfflineTraining(grid, cell, work) for cell in cells if cell.settings.offline]
    for training, failure in _trained(offline, online, work / "log"):
        name = training.cell.file_name
        if failure:
            print(failure, file=sys.stderr)
            failed.append(name)
            continue
        run, accuracies = training.result(next_number(results), commit)
        append(results, run, accuracies)
        print(f"{name}: accuracy {run.accuracy:.3f} [{run.low:.3f}, {run.high:.3f}], {run.seconds:.0f} s", flush=True)
    if failed:
        print(f"verl_gpo: {len(failed)} runs failed, call again to repeat them: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _trained(
    offline: Iterable[OfflineTraining], online: dict[str, Training], log: Path
) -> Iterator[tuple[OfflineTraining | Training, TrainingFailed | None]]:
    """Each training when it ends, with its failure or None."""
    for training in offline:
        yield training, _failure(training.train)
    for call, outcome in consecutive([training.call() for training in online.values()], log):
        yield online[call.name], outcome if isinstance(outcome, TrainingFailed) else None


def _failure(train: Callable[[], None]) -> TrainingFailed | None:
    try:
        train()
    except TrainingFailed as error:
        return error
    return None


def _check_starts(results: Path, log: Path, runs: Sequence[Run], trainings: Iterable[Training]) -> None:
    """Check, before anything is trained, that new runs start from the same models as those that are there.

    Raises:
        ValueError: they would not (:func:`scripts.experiments.results.check_start`).
    """
    first = {(training.cell.regime, training.cell.seed): training for training in reversed(list(trainings))}
    prepared: set[Path] = set()
    for regime, seed in sorted({(run.regime, run.seed) for run in runs if run.points} & set(first)):
        training = first[regime, seed]
        if training.data not in prepared:  # all seeds of a regime share this folder
            prepare(training.call(), log)
            prepared.add(training.data)
        found = evaluate_start(training.weights(0), training.data, training.grid.samples, seed)
        check_start(results, runs, regime, seed, float(np.mean(found.accuracies)))


def this_commit() -> str:
    """The hash of the current commit, followed by ``+`` if the working tree differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "verl_gpo", "recipes")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")
