"""``compute_score``: the one entry point, for verl and for an evaluator alike.

In verl:

    reward.custom_reward_function.path=pkg://verl_gpo.graders reward.custom_reward_function.name=compute_score
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..data.registry import GRADER_OF, REASONING_GYM
from . import bbh, choice, gym, math
from .gold import BadGroundTruth, alternatives
from .grade import Grade

#: Graders by the name that registry entries use: response, the answers of which each is right, and ``extra_info`` (with
#: ``metadata`` as a dictionary) to a grade.
GRADERS: dict[str, Callable[[str, tuple[str, ...], Mapping[str, Any]], Grade]] = {
    "math": math.grade,
    "choice": choice.grade,
    "bbh": bbh.grade,
    "reasoning_gym": gym.grade,
}

_PRED_CHARACTERS = 200


class UnknownDataSource(ValueError):
    """No grader is registered for the ``data_source`` of a row."""


def grader_of(data_source: str) -> str:
    """Name of the grader.

    Raises:
        UnknownDataSource: with the list of those that are known.
    """
    name = GRADER_OF.get(data_source)
    if name is None and str(data_source).startswith(f"{REASONING_GYM}/"):
        name = REASONING_GYM
    if name is None:
        known = ", ".join([*sorted(GRADER_OF), f"{REASONING_GYM}/TASK"])
        raise UnknownDataSource(f"data_source={data_source!r} has no grader: known are {known}")
    return name


def _extra(extra_info: Mapping[str, Any] | None) -> dict[str, Any]:
    extra = dict(extra_info or {})
    metadata = extra.get("metadata") or {}
    if isinstance(metadata, str):  # as `prepare` writes it; other people's data may mean something else by the name
        with contextlib.suppress(ValueError):
            metadata = json.loads(metadata)
    return {**extra, "metadata": metadata if isinstance(metadata, Mapping) else {}}


def compute_score(
    data_source: str,
    solution_str: str | None,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float | str]:
    """Grade one response. Safe in threads and in Ray workers; bounded in time for any string.

    Args:
        data_source: as `prepare` writes it; it picks the grader.
        solution_str: the response, decoded. None counts as empty.
        ground_truth: the answer, as `prepare` writes it. A list of texts, also as JSON (``["18", "19"]``), holds
            alternatives: an answer is right if it is one of them, or several of them.
        extra_info: the row's; graders read ``question``, ``task`` and ``metadata`` where they are there.
        kwargs: whatever else a reward manager passes; ignored.

    Returns:
        ``{"score", "acc", "pred"}``, the same keys and types for every row, since verl stacks them into columns:
        score in [0, 1], accuracy 0.0 or 1.0, and the answer that was read, at most 200 characters, "" for none.

    Raises:
        UnknownDataSource: no grader; the message lists the known sources.
        BadGroundTruth: a ground truth that no response could match, such as an empty one.
    """
    name = grader_of(data_source)
    response = "" if solution_str is None else str(solution_str)
    try:
        # A task of reasoning-gym may have a list in JSON for its answer.
        golds = (str(ground_truth),) if name == REASONING_GYM else alternatives(ground_truth)
        grade = GRADERS[name](response, golds, _extra(extra_info))
    except BadGroundTruth as error:
        raise BadGroundTruth(f"data_source={data_source!r}: {error}") from None
    # Half a surrogate pair or a NUL would end the run when the column is written to a file.
    pred = grade.pred[:_PRED_CHARACTERS].encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    return {"score": float(grade.score), "acc": float(grade.acc), "pred": pred}
