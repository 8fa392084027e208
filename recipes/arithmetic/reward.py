"""Rule reward of the arithmetic task: is the last answer line right?

verl loads this file by its path, so it imports nothing from its own folder.
"""

from __future__ import annotations

import re
from typing import Any

_ANSWER = re.compile(r"= ?([0-9]+)")
_END = "<|im_end|>"


def extract_answer(solution_str: str) -> str | None:
    """The digits of the last line that starts with ``=``; None if there is no such line or it is malformed.

    A malformed last answer is not replaced by an earlier one, so writing several answers is never rewarded for a guess.
    """
    lines = [line.strip() for line in solution_str.replace(_END, "").split("\n")]
    answers = [line for line in lines if line.startswith("=")]
    match = _ANSWER.fullmatch(answers[-1]) if answers else None
    return match[1] if match else None


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None, **kwargs: Any
) -> dict[str, float]:
    """Score of one response.

    Returns:
        ``{"score": 1.0, "acc": 1.0}`` if the answer equals ``ground_truth`` digit for digit, else both 0.0. Any string
        is accepted, the empty one and truncated ones included.
    """
    right = float(extract_answer(solution_str) == str(ground_truth))
    return {"score": right, "acc": right}
