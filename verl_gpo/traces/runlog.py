"""Reads verl's own metrics file (``trainer.logger=[...,"file"]``)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunLog:
    """The metrics of one run, by training step; step 0 is the validation before training.

    A resumed training logs the steps after its checkpoint again. They count once, as logged last, and all later steps
    of the interrupted training are dropped. Before it continues, it validates at the step of its checkpoint; this is
    added to that step's metrics. NaN and infinite values, which verl writes as null, count as not logged.
    """

    steps: dict[int, dict[str, Any]]

    @classmethod
    def read(cls, path: str | Path) -> RunLog:
        """Read a metrics file; a last line that is only half written is left out.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a line that is not verl's, with its number.
        """
        steps: dict[int, dict[str, Any]] = {}
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                step, data = int(record["step"]), dict(record["data"])
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    break
                raise ValueError(f"{path}, line {number}: not a line of verl's file logger ({error})") from error
            before = steps.get(step, {}) if all(name.startswith("val-") for name in data) else {}
            steps = {known: metrics for known, metrics in steps.items() if known < step}
            steps[step] = before | logged(data)
        return cls(dict(sorted(steps.items())))

    def validation(self) -> dict[int, float]:
        """Validation accuracy by step, averaged over data sources."""
        curve = {step: validation_accuracy(metrics) for step, metrics in self.steps.items()}
        return {step: accuracy for step, accuracy in curve.items() if accuracy is not None}

    def series(self, name: str) -> dict[int, float]:
        """One metric by step, where it was logged."""
        return {step: float(metrics[name]) for step, metrics in self.steps.items() if name in metrics}

    def total(self, name: str) -> float:
        """Sum of a metric over all steps."""
        return sum(self.series(name).values())


def logged(data: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a line that have a value: verl writes NaN and infinite ones as null, other writers as they are."""
    return {
        name: value
        for name, value in data.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def validation_accuracy(metrics: Mapping[str, Any]) -> float | None:
    """Validation accuracy among the metrics of one step, averaged over data sources; None without a validation."""
    scores = [v for k, v in metrics.items() if k.startswith("val-core/") and "/mean@" in k]
    return sum(scores) / len(scores) if scores else None


def generated_tokens(metrics: Mapping[str, Any]) -> float:
    """Tokens that the policy generated in one training step for all purposes; 0 without ``gpo/*`` metrics."""
    return sum(float(metrics.get(f"gpo/tokens/{kind}", 0.0)) for kind in ("root", "value", "reentry"))
