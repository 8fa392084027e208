"""Tasks of reasoning-gym, graded by the package's own scorers if it is installed, else by exact match.

The scorers give partial credit. Some of them evaluate what the model wrote, so they run in a worker process.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from .extract import final_answer, last_line
from .grade import Grade
from .pool import shared


@cache
def installed() -> bool:
    """Whether the package reasoning-gym is installed; it is not imported."""
    return importlib.util.find_spec("reasoning_gym") is not None


def grade(response: str, golds: tuple[str, ...], extra: Mapping[str, Any]) -> Grade:
    """Grade a response; ``score`` may be partial credit, and ``acc`` is 1.0 only for full marks.

    Args:
        response: the decoded response.
        golds: the single answer of the task.
        extra: the row's ``extra_info``; ``task`` is read, and ``metadata["entry"]``, the problem as the package
            generated it (JSON or a dictionary).
    """
    (gold,) = golds
    pred = final_answer(response, raw=True) or last_line(response)
    if not pred:
        return Grade(0.0, 0.0, "")
    task, entry = str(extra.get("task") or ""), extra["metadata"].get("entry")
    score = None
    if pred.split() != gold.split() and entry and installed():
        entry = json.loads(entry) if isinstance(entry, str) else entry
        score = shared().run("gym", task, pred, entry)
    elif pred.split() == gold.split():
        score = 1.0
    score = min(max(float(score or 0.0), 0.0), 1.0)
    return Grade(score, float(score >= 1.0), pred)
