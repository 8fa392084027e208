"""Rule reward of the walk: is the sum in the last turn right?

verl loads this file by its path, so it imports nothing from its own folder.
"""

from __future__ import annotations

import re
from typing import Any

_ANSWER = re.compile(r"The sum: ([0-9]+)")
_END, _ANSWERED = "<|im_end|>", "</tool_response>"


def extract_answer(solution_str: str) -> str | None:
    """The digits of the policy's last turn, behind the last answer of a tool; None if it is malformed."""
    match = _ANSWER.fullmatch(solution_str.replace(_END, "").rpartition(_ANSWERED)[2].strip())
    return match[1] if match else None


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None, **kwargs: Any
) -> dict[str, float]:
    """Score of one trajectory, its tools' answers included.

    Returns:
        ``{"score": 1.0, "acc": 1.0}`` if the answer equals ``ground_truth`` digit for digit, else both 0.0. Any string
        is accepted, the empty one and truncated ones included.
    """
    right = float(extract_answer(solution_str) == str(ground_truth))
    return {"score": right, "acc": right}
