"""Rule reward of the recipe: whether the answer on the answer line is right.

verl loads this file by its path, and not as a part of a package, so it imports nothing from its folder.
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
    """Score one response: 1 if reasoning-gym's scorer gives full marks, else 0.

    A response without an answer line is wrong. Without this rule the scorer would take a number from its last line, and
    a response that goes on to the limit often has the right number in the middle of a sentence.

    Args:
        data_source, ground_truth, extra_info: of the row.
        solution_str: the decoded response.
        kwargs: passed on.

    Returns:
        ``{"score", "acc", "pred"}`` as :func:`verl_gpo.graders.compute_score`, without partial credit.
    """
    if not _ANSWER.search(solution_str or ""):
        return {"score": 0.0, "acc": 0.0, "pred": ""}
    found = graders.compute_score(data_source, solution_str, ground_truth, extra_info, **kwargs)
    return {**found, "score": found["acc"]}
