"""The names of the splitters, and the option that some of them need (:mod:`verl_gpo.core.segment`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class SplitterOption:
    """What the option of a splitter may be.

    Attributes:
        text: in words.
        check: raises ValueError for an option that is not allowed.
    """

    text: str
    check: Callable[[str], None]


def _check_count(option: str) -> None:
    if int(option) < 1:
        raise ValueError(f"{option} tokens are no step")


def _check_pattern(option: str) -> None:
    try:
        re.compile(option)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{option!r} is not a valid regular expression: {error}") from error


def _check_threshold(option: str) -> None:
    threshold, cuts = threshold_and_cuts(option)
    if not 0 < threshold < 1:
        raise ValueError(f"{threshold:g} is no threshold on probabilities")
    if cuts < 1:
        raise ValueError(f"{cuts} cut points are no step")


def threshold_and_cuts(option: str) -> tuple[float, int]:
    """The option of ``low_prob``, such as ``0.9/5``: the threshold, and the number of cut points in a step.

    Raises:
        ValueError: it is not a number, or the part behind the stroke is no integer.
    """
    threshold, stroke, cuts = option.partition("/")
    return float(threshold), int(cuts) if stroke else 1


#: name -> its option; None for a splitter that takes none.
SPLITTERS: dict[str, SplitterOption | None] = {
    "newline": None,
    "paragraph": None,
    "sentence": None,
    "code": None,
    "turn": None,
    "tokens": SplitterOption("an integer of at least 1", _check_count),
    "regex": SplitterOption("a Python regular expression", _check_pattern),
    "low_prob": SplitterOption(
        "a number above 0 and below 1, or such a number and an integer of at least 1, as 0.9/5", _check_threshold
    ),
    "line_tokens": None,
}


def check_option(name: str, option: str | None) -> str | None:
    """Why the splitter ``name`` cannot have this option (None or empty: none is given); None where it can."""
    if name not in SPLITTERS:
        return f"no such splitter; known are {', '.join(SPLITTERS)}"
    known = SPLITTERS[name]
    if known is None:
        return f"{name} takes no option" if option else None
    if not option:
        return f"{name} needs an option: {known.text}"
    try:
        known.check(option)
    except ValueError as error:
        return f"{name} needs {known.text}: {error}"
    return None
