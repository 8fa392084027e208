"""What every grader returns."""

from __future__ import annotations

from typing import NamedTuple


class Grade(NamedTuple):
    """``score`` in [0, 1]; ``acc`` is 1.0 if the answer is right, else 0.0; ``pred`` is the answer as it was read."""

    score: float
    acc: float
    pred: str


def verdict(right: bool, pred: str) -> Grade:
    """All or nothing."""
    return Grade(float(right), float(right), pred)
