"""Rule reward of the recipe: is the answer on the answer line right?

verl loads this file by its path, so it imports nothing from its own folder.
"""

from __future__ import annotations

import re
from typing import Any

from verl_gpo import graders

_ANSWER = re.compile(r"^Answer: *\S", re.MULTILINE)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float | str]:
    """Score of one response: 1 if reasoning-gym's scorer gives it full marks, else 0.

    A response without an answer line is wrong. The scorers would look for a number in its last line, and a response
    that rambles to the limit often has the right one in the middle of a sentence.

    Returns:
        ``{"score", "acc", "pred"}``, as :func:`verl_gpo.graders.compute_score`, without its partial credit.
    """
    if not _ANSWER.search(solution_str or ""):
        return {"score": 0.0, "acc": 0.0, "pred": ""}
    found = graders.compute_score(data_source, solution_str, ground_truth, extra_info, **kwargs)
    return {**found, "score": found["acc"]}
