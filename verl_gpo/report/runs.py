"""Runs to be compared: several seeds of one method are one group, with intervals over its seeds."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .runlog import RunLog, generated_tokens

#: 97.5 % quantiles of Student's t distribution by degrees of freedom, from 1 on; the last is also used beyond.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12)


@dataclass(frozen=True)
class RunGroup:
    """The runs of one method, which differ in nothing but their seeds."""

    name: str
    logs: tuple[RunLog, ...]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; a single seed has none."""

    mean: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        spread = "" if self.high is None else f" ± {_figures(self.high - self.mean)}"
        return _figures(self.mean) + spread


def _figures(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of at least one value, and Student's t interval of it where there are two or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean)
    half = _T[min(len(values) - 1, len(_T)) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


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
    for argument in arguments:
        name, sign, path = argument.partition("=")
        if not sign or Path(argument).exists():
            name, path = "", argument
        file = metrics_file(path)
        log = RunLog.read(file)
        if not log.steps:
            raise ValueError(f"{file}: holds no complete training step")
        groups.setdefault(name or file.resolve().parent.name, []).append(log)
    return [RunGroup(name, tuple(logs)) for name, logs in groups.items()]


def cumulative(log: RunLog, cost: str) -> dict[int, float]:
    """What a run had spent behind each of its steps: generated ``tokens``, or ``seconds`` of training steps.

    Seconds leave validation out, which verl times apart; methods are compared by what training costs.
    """
    costs = {
        "tokens": generated_tokens,
        "seconds": lambda metrics: float(metrics.get("timing_s/step", 0.0)),
    }[cost]
    return dict(zip(log.steps, itertools.accumulate(costs(metrics) for metrics in log.steps.values()), strict=True))


def over_seeds(group: RunGroup, series: Callable[[RunLog], dict[int, float]]) -> dict[int, Estimate]:
    """A series' estimate at each step that all seeds have: else the one that runs on would move the mean."""
    curves = [series(log) for log in group.logs]
    steps = set(curves[0]).intersection(*curves[1:])
    return {step: estimate([curve[step] for curve in curves]) for step in sorted(steps)}
