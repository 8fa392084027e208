"""``compute_score``, the entry point for verl and for the evaluation. verl is told to use it by

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

#: The graders by the name that a data set of the registry gives. A grader takes the response, the answers, each of
#: which is right, and ``extra_info`` (with ``metadata`` as a dictionary), and returns a grade.
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
    """Name of the grader of a data set.

    Raises:
        UnknownDataSource: there is none; the message lists the data sources that are known.

    >>> grader_of("openai/gsm8k"), grader_of("reasoning_gym/chain_sum")
    ('math', 'reasoning_gym')
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
    if isinstance(metadata, str):  # JSON, as `prepare` writes it; in data made elsewhere it may be any text
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
    """Grade one response. It may be called in threads and in Ray workers, and its time is bounded for any string.

    Args:
        data_source: the row's ``data_source``, which decides the grader.
        solution_str: the decoded response. None counts as empty.
        ground_truth: the answer, as `prepare` writes it. A list of texts, or the JSON text of one (``["18", "19"]``),
            holds alternatives: an answer is right if it is one of them, or several of them.
        extra_info: the row's ``extra_info``; graders read ``question``, ``task`` and ``metadata`` if they are there.
        kwargs: anything else that a reward manager passes; not read.

    Returns:
        ``{"score", "acc", "pred"}``: the score in [0, 1], the accuracy 0.0 or 1.0, and the answer that was read, at
        most 200 characters of it, "" for none. Keys and types are the same for every row, since verl stacks them into
        columns.

    Raises:
        UnknownDataSource: no grader is registered; the message lists the known sources.
        BadGroundTruth: no response could match the ground truth, for example because it is empty.
        GraderError: no worker process can be started.

    >>> compute_score("openai/gsm8k", "6 * 7 = 42. #### 42", "42")
    {'score': 1.0, 'acc': 1.0, 'pred': '42'}
    """
    name = grader_of(data_source)
    response = "" if solution_str is None else str(solution_str)
    try:
        # The answer of a reasoning-gym task may itself be a list in JSON, so it is not read as alternatives.
        golds = (str(ground_truth),) if name == REASONING_GYM else alternatives(ground_truth)
        grade = GRADERS[name](response, golds, _extra(extra_info))
    except BadGroundTruth as error:
        raise BadGroundTruth(f"data_source={data_source!r}: {error}") from None
    # Half a surrogate pair or a NUL character would end the run when verl writes the column to a file.
    pred = grade.pred[:_PRED_CHARACTERS].encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    return {"score": float(grade.score), "acc": float(grade.acc), "pred": pred}
