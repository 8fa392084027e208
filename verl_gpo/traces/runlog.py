"""verl's own metrics file (``trainer.logger=[...,"file"]``) as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunLog:
    """The metrics of one run, by training step; step 0 is the validation before training.

    A step that was logged twice, as after a resume, counts once, as logged last.
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
                steps[int(record["step"])] = record["data"]
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    break
                raise ValueError(f"{path}, line {number}: not a line of verl's file logger ({error})") from error
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


def validation_accuracy(metrics: Mapping[str, Any]) -> float | None:
    """Validation accuracy among the metrics of one step, averaged over data sources; None without a validation."""
    scores = [v for k, v in metrics.items() if k.startswith("val-core/") and "/mean@" in k]
    return sum(scores) / len(scores) if scores else None


def generated_tokens(metrics: Mapping[str, Any]) -> float:
    """Tokens that the policy generated in one training step, whatever for; 0 without ``gpo/*`` metrics."""
    return sum(float(metrics.get(f"gpo/tokens/{kind}", 0.0)) for kind in ("root", "value", "reentry"))
