"""Runs that are compared: several seeds of one method are one group, with intervals over its seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..statistics import Estimate, estimate
from ..traces.runlog import RunLog, generated_tokens


@dataclass(frozen=True)
class RunGroup:
    """The runs of one method, which differ only in their seeds."""

    name: str
    logs: tuple[RunLog, ...]


def metrics_file(path: str | Path) -> Path:
    """A metrics file, or the one in a folder: ``metrics.jsonl``, else its only ``*.jsonl``.

    Raises:
        FileNotFoundError: there is none, or it is not clear which.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        return path
    found = [path / "metrics.jsonl"] if (path / "metrics.jsonl").exists() else sorted(path.glob("*.jsonl"))
    if len(found) != 1:
        raise FileNotFoundError(f"{path}: holds {len(found)} files *.jsonl; name the metrics file")
    return found[0]


def named_files(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """Name and metrics file of each run.

    Args:
        arguments: each a path, or ``NAME=PATH``. Without a name a run is named by its folder.

    Raises:
        FileNotFoundError: a path that holds no metrics.
    """
    named = []
    for argument in arguments:
        name, sign, path = argument.partition("=")
        if not sign or Path(argument).exists():
            name, path = "", argument
        file = metrics_file(path)
        named.append((name or file.resolve().parent.name, file))
    return named


def read_runs(arguments: Sequence[str]) -> list[RunGroup]:
    """Groups of runs, in the order of their names' first appearance.

    Args:
        arguments: each a path, or ``NAME=PATH``; runs of one name are seeds of one method. Without a name a run is
            named by its folder.

    Raises:
        FileNotFoundError, ValueError: a path that holds no metrics; a file that verl's logger did not write, or that
            holds no complete step.
    """
    groups: dict[str, list[RunLog]] = {}
    for name, file in named_files(arguments):
        log = RunLog.read(file)
        if not log.steps:
            raise ValueError(f"{file}: holds no complete training step")
        groups.setdefault(name, []).append(log)
    return [RunGroup(name, tuple(logs)) for name, logs in groups.items()]


def cumulative(log: RunLog, cost: str) -> dict[int, float]:
    """Total cost of a run after each of its steps: generated ``tokens``, or ``seconds`` of training steps.

    The seconds do not include validation, which verl measures separately; only the cost of training is compared.
    """
    costs = {
        "tokens": generated_tokens,
        "seconds": lambda metrics: float(metrics.get("timing_s/step", 0.0)),
    }[cost]
    return dict(zip(log.steps, itertools.accumulate(costs(metrics) for metrics in log.steps.values()), strict=True))


def over_seeds(group: RunGroup, series: Callable[[RunLog], dict[int, float]]) -> dict[int, Estimate]:
    """Estimate of a series at each step that all seeds have: a longer run alone would change the mean."""
    curves = [series(log) for log in group.logs]
    steps = set(curves[0]).intersection(*curves[1:])
    return {step: estimate([curve[step] for curve in curves]) for step in sorted(steps)}
