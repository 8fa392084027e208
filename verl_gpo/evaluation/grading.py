"""Calls a reward function and reads the accuracy and the answer from its result, besides the score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..core.types import ScoringError
from ..inference.task import Prompt, call_reward


class Verdict(NamedTuple):
    """The result for one response.

    ``score`` is what training would reward. ``accuracy``, in [0, 1], is the ``acc`` that the function returns, or else
    the score. ``prediction`` is its ``pred``: "" if the response gives no answer, None if the function reports none.
    """

    score: float
    accuracy: float
    prediction: str | None


async def grade(reward: Callable[..., Any], prompt: Prompt, response: str) -> Verdict:
    """Call a reward function as verl calls it.

    Raises:
        ScoringError: it raised, or returned neither a number nor a dict with ``score``, or no accuracy in [0, 1].
    """
    try:
        result = await call_reward(reward, prompt, response)
        if not isinstance(result, Mapping):
            result = {"score": result}
        score = float(result["score"])
        accuracy = float(result.get("acc", score))
        prediction = result.get("pred")
    except Exception as error:
        raise ScoringError(f"the reward function failed: {error!r}") from error
    if not (math.isfinite(score) and 0.0 <= accuracy <= 1.0):
        raise ScoringError(
            f"the reward function gave {score}, accuracy {accuracy}: acc, or else score, must be in [0, 1]"
        )
    return Verdict(score, accuracy, None if prediction is None else str(prediction))
