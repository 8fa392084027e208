"""Raw results of ``experiment.py`` as data: a row a run, and a row an evaluation point of a run."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

#: Questions that a grid answers.
GRIDS = ("protocol", "protocol24", "tokens", "few", "skills", "sensitivity")
#: Methods of a grid, in the order of tables and colours.
METHODS = ("grpo", "grpo_tokens", "random", "gpo_paper", "gpo_fast", "informative", "oracle", "ppo", "gpo_ppo")
#: Settings of the optimizer that names of methods tell: its rate, the rate that it falls from, the bound on gradients.
OPTIMIZER = ("lr", "cosine", "clip")
#: Columns that are shares.
SHARES = ("accuracy", "low", "high", "root_mixed", "branch_mixed", "easy_step", "hard_step")
RUNS, EVALUATIONS = "runs.csv", "evaluations.csv"
Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Point:
    """One evaluation of a run; tokens, rows, optimizer steps and seconds are what training had spent by then.

    Attributes:
        low, high: 95 % interval of the accuracy over problems.
        easy_step, hard_step: share of right lines among those that follow only right lines, by kind of step; None
            where no such line was met.
        distance: of the policy's weights from those that training started from, Euclidean; None where not measured.
    """

    grid: str
    regime: str
    method: str
    seed: int
    training_step: int
    tokens: float
    rows: float
    optimizer_steps: float
    seconds: float
    accuracy: float
    low: float
    high: float
    easy_step: float | None
    hard_step: float | None
    problems: int
    samples: int
    distance: float | None

    @property
    def key(self) -> Key:
        return self.grid, self.regime, self.method, self.seed


@dataclass(frozen=True)
class Run:
    """One run that is finished; tokens, requests, rows and seconds are totals of it.

    Attributes:
        method: a name, and behind a colon what is varied of it (``gpo_fast:n_mc=8``).
        prompts: of a training step.
        seconds: training steps, validation left out.
        root_mixed, branch_mixed: share of the groups whose outcomes differ; None without such groups.
        chosen, hits: critical steps, and those among them that are hard in truth; None for methods without.
        accuracy, low, high: last evaluation, with its 95 % interval over problems.
        points: its evaluations, in order.
    """

    grid: str
    regime: str
    method: str
    seed: int
    training_steps: int
    learning_rate: float
    prompts: int
    commit: str
    cores: int
    device: str
    tokens_root: float
    tokens_value: float
    tokens_reenter: float
    requests_value: float
    requests_reenter: float
    rows: float
    optimizer_steps: float
    seconds: float
    seconds_gen: float
    seconds_old_log_prob: float
    seconds_update_actor: float
    seconds_update_critic: float | None
    seconds_update_weights: float
    root_mixed: float | None
    branch_mixed: float | None
    hits: float | None
    chosen: float | None
    accuracy: float
    low: float
    high: float
    points: tuple[Point, ...] = ()

    @property
    def key(self) -> Key:
        return self.grid, self.regime, self.method, self.seed

    @property
    def tokens(self) -> float:
        """All tokens that were generated, whatever for."""
        return self.tokens_root + self.tokens_value + self.tokens_reenter

    @property
    def base(self) -> str:
        """The method without what is varied of it."""
        return self.method.partition(":")[0]

    @property
    def machine(self) -> tuple[int, str]:
        """Seconds are comparable on the same one only."""
        return self.cores, self.device


Row = TypeVar("Row", Run, Point)


def read_results(folder: Path) -> list[Run]:
    """Finished runs with their evaluation points, in the files' order; points of other runs are left out.

    No files, no runs: nothing has been measured yet.

    Raises:
        ValueError: a row that the experiment runner does not write, named by file and line.
    """
    runs = _read(folder / RUNS, Run)
    points: dict[Key, list[Point]] = {}
    for point in _read(folder / EVALUATIONS, Point):
        points.setdefault(point.key, []).append(point)
    keys = [run.key for run in runs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{folder / RUNS}: {_name(key)} has more than one row; a repeat needs a grid of its own")
    curves = [replace(run, points=_curve(folder / EVALUATIONS, points.get(run.key, []))) for run in runs]
    for key, accuracies in _starts(curves).items():
        if len(accuracies) > 1:
            raise ValueError(f"{folder / EVALUATIONS}: {_name(key)}: {_NOT_ONE_MODEL} ({_listed(accuracies)})")
    return curves


_NOT_ONE_MODEL = "runs started from models of different accuracies, so they cannot be compared"


def _starts(runs: Iterable[Run]) -> dict[tuple[str, int], set[float]]:
    """Accuracies that the runs of each regime and seed started from."""
    found: dict[tuple[str, int], set[float]] = {}
    for run in runs:
        if run.points and run.points[0].training_step == 0:
            found.setdefault((run.regime, run.seed), set()).add(run.points[0].accuracy)
    return found


def check_start(folder: Path, runs: Iterable[Run], regime: str, seed: int, accuracy: float) -> None:
    """A model supervised on another machine is another model: its runs have to stand in another folder.

    Args:
        folder: of the ``runs``, for the message.
        accuracy: of the model that new runs of the regime and seed would start from.

    Raises:
        ValueError: the runs started from another one.
    """
    there = _starts(runs).get((regime, seed), set())
    if there and float(f"{accuracy:.6g}") not in there:
        raise ValueError(
            f"{folder / EVALUATIONS}: {_name((regime, seed))}: {_NOT_ONE_MODEL} ({_listed(there)}, and {accuracy:.6g} "
            "of the model made here): give another folder, --results, or the models of these runs, --work"
        )


def _listed(accuracies: Iterable[float]) -> str:
    return ", ".join(f"{accuracy:g}" for accuracy in sorted(accuracies))


def _curve(file: Path, points: Iterable[Point]) -> tuple[Point, ...]:
    curve = tuple(sorted(points, key=lambda point: point.training_step))
    for before, after in itertools.pairwise(curve):
        if before.training_step == after.training_step:
            raise ValueError(f"{file}: {_name(after.key)} has two rows of training step {after.training_step}")
        if after.tokens <= before.tokens or after.seconds <= before.seconds:
            raise ValueError(
                f"{file}: {_name(after.key)}, training step {after.training_step}: tokens and seconds are of the whole "
                "run so far and must be more than at the evaluation before"
            )
    return curve


def _name(key: Sequence[str | int]) -> str:
    return " ".join(map(str, key))


def _read(file: Path, kind: type[Row]) -> list[Row]:
    if not file.exists():
        return []
    columns = {field.name: str(field.type) for field in fields(kind) if field.default is MISSING}
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        lacking = [name for name in columns if name not in (reader.fieldnames or ())]
        if lacking:
            raise ValueError(f"{file}: has no column {', '.join(lacking)}")
        return [
            kind(**{name: _cell(file, reader.line_num, name, kept, row[name]) for name, kept in columns.items()})
            for row in reader
        ]


def _cell(file: Path, line: int, name: str, kind: str, text: str | None) -> Any:
    if kind == "str":
        if text:
            return text
    elif kind.endswith("None") and text == "":
        return None
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


def optimizer_part(method: str) -> str:
    """What a method's name says of its optimizer: ``cosine=4e-3:clip=0.1`` of ``grpo:n=4:cosine=4e-3:clip=0.1``."""
    parts = method.split(":")[1:]
    return ":".join(part for part in parts if part.partition("=")[0] in OPTIMIZER)


def without_optimizer(method: str) -> str:
    """The rest of the name: ``grpo:n=4`` of ``grpo:n=4:cosine=4e-3:clip=0.1``."""
    base, *parts = method.split(":")
    return ":".join([base, *(part for part in parts if part.partition("=")[0] not in OPTIMIZER)])


def methods(runs: Sequence[Run]) -> list[str]:
    """Methods in the order of a table: known ones first, variants behind what they vary."""
    found = list(dict.fromkeys(run.method for run in runs))
    rank = {name: place for place, name in enumerate(METHODS)}
    return sorted(found, key=lambda name: (rank.get(name.partition(":")[0], len(METHODS)), ":" in name))
