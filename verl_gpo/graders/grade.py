"""What every grader returns."""

from __future__ import annotations

from typing import NamedTuple


class Grade(NamedTuple):
    """The grade of one response.

    Attributes:
        score: the reward, from 0 to 1; values between are partial credit.
        acc: 1.0 if the answer is right, else 0.0.
        pred: the answer that was read from the response, "" for none.
    """

    score: float
    acc: float
    pred: str


def verdict(right: bool, pred: str) -> Grade:
    """A grade without partial credit: 1.0 for a right answer, else 0.0."""
    return Grade(float(right), float(right), pred)
