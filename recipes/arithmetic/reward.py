"""Rule reward of the arithmetic task: whether the last answer line is right.

verl loads this file by its path, and not as a part of a package, so it imports nothing from its folder.
"""

from __future__ import annotations

import re
from typing import Any

_ANSWER = re.compile(r"= ?([0-9]+)")
_END = "<|im_end|>"


def extract_answer(solution_str: str) -> str | None:
    """The digits of the last line that starts with ``=``; None if there is no such line, or if it is malformed.

    An earlier answer never replaces a malformed last one, so writing several answers does not help a guess.

    >>> extract_answer("a+585\\n= 585"), extract_answer("= 585\\n= ?")
    ('585', None)
    """
    lines = [line.strip() for line in solution_str.replace(_END, "").split("\n")]
    answers = [line for line in lines if line.startswith("=")]
    match = _ANSWER.fullmatch(answers[-1]) if answers else None
    return match[1] if match else None


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None, **kwargs: Any
) -> dict[str, float]:
    """Score one response.

    Args:
        data_source: not read.
        solution_str: the decoded response; any text, also an empty or a truncated one.
        ground_truth: the digits of the right answer.
        extra_info, kwargs: not read.

    Returns:
        ``{"score": 1.0, "acc": 1.0}`` if the answer equals ``ground_truth`` digit for digit, else both are 0.0.
    """
    right = float(extract_answer(solution_str) == str(ground_truth))
    return {"score": right, "acc": right}
