r"""Ground truths of any shape, read into the answers that are right.

The ground truth of a row is usually one text. A list of texts, or the JSON text of such a list, holds alternatives,
each of which is right. With any other shape every response would be graded as wrong without a message, so it is an
error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..data.boxes import last_answer

_OPTION = re.compile(r"(?:option |choice |answer:? )?[(\[]?([A-Za-z])[)\]]?[.:]?", re.IGNORECASE)


class BadGroundTruth(ValueError):
    """A ground truth that no response could match, with what is allowed."""


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or not (isinstance(value, str | int | float) or hasattr(value, "item")):
        raise BadGroundTruth(
            f"ground_truth={value!r} is a {type(value).__name__}: allowed are a text, a number, or a list of them "
            "(alternatives)"
        )
    value = value.item() if hasattr(value, "item") else value
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if not text:
        raise BadGroundTruth(f"ground_truth={value!r} is empty: allowed are a text, a number, or a list of them")
    return text


def alternatives(ground_truth: Any) -> tuple[str, ...]:
    """The answers that a ground truth holds, each of which is right.

    Args:
        ground_truth: a text, a number, a list of them, or the JSON text of a list of texts.

    Raises:
        BadGroundTruth: it is empty, or of another type.

    >>> alternatives('["18", "19"]'), alternatives([18, 19]), alternatives("[1,2]")
    (('18', '19'), ('18', '19'), ('[1,2]',))
    """
    if isinstance(ground_truth, str):
        # Only a list of texts: [1, 2] is an interval.
        if ground_truth.lstrip()[:1] == "[" and '"' in ground_truth:
            try:
                found = json.loads(ground_truth)
            except ValueError:
                found = None
            if isinstance(found, list) and all(isinstance(item, str) for item in found):
                ground_truth = found
        else:
            return (_scalar(ground_truth),)
    if hasattr(ground_truth, "tolist"):  # numpy: a list column of a parquet file
        ground_truth = ground_truth.tolist()
    if isinstance(ground_truth, Sequence) and not isinstance(ground_truth, str):
        if not ground_truth:
            raise BadGroundTruth(f"ground_truth={ground_truth!r} is an empty list: at least one answer is needed")
        return tuple(dict.fromkeys(_scalar(item) for item in ground_truth))
    return (_scalar(ground_truth),)


def mathematical(gold: str) -> str:
    r"""The answer in a mathematical ground truth. Some data sets put a whole solution there.

    >>> mathematical("5"), mathematical("6 * 7 = 42 #### 42"), mathematical(r"so it is $\boxed{7}$")
    ('5', '42', '7')
    """
    if "####" in gold:
        gold = gold.rpartition("####")[2].strip()
    start, boxed = last_answer(gold) if "box" in gold else (-1, "")
    return boxed if start >= 0 and boxed else gold


def option(gold: str, choices: Sequence[str] = ()) -> str:
    """The letter of an option, in upper case.

    Args:
        gold: the option as ``B``, ``(B)`` or ``B.``, or as its own text.
        choices: the texts of all options, if they are known.

    Raises:
        BadGroundTruth: it names no option.

    >>> option("(b)"), option("iron", ["gold", "iron"])
    ('B', 'B')
    """
    match = _OPTION.fullmatch(gold.strip())
    if match:
        return match[1].upper()
    same = [index for index, text in enumerate(choices) if str(text).strip() == gold.strip()]
    if len(same) == 1:
        return chr(65 + same[0])
    raise BadGroundTruth(
        f"ground_truth={gold!r} names no option: allowed are a letter, as B or (B), or an option's text"
    )


def repeats(golds: tuple[str, ...], answer: str) -> bool:
    """Is the answer the whole list of alternatives, as the ground truth writes it?"""
    try:
        return len(golds) > 1 and alternatives(answer) == golds
    except BadGroundTruth:
        return False
