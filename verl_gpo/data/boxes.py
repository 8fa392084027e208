r"""Boxes in LaTeX: what ``\boxed{...}`` and its kin hold, and which boxes are one answer of several values.

Used for published solutions (`verl_gpo.data.gold`) and for responses (`verl_gpo.graders.extract`). Linear in the length
of the text: no pattern here can backtrack without bound.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Longer contents are no answers.
LONGEST = 2_000
#: Boxes that are read, from the end; more of them are no answer of several values either.
MOST = 16

_BOX = re.compile(r"\\(?:f|frame)?box(?:ed)?\s{0,3}(?:\{|(?<=\s)(?=[^\s{])|\Z)")
_WORD = re.compile(r"[^\s$]{1,200}")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TYPESETTING = re.compile(
    r"\\(?:text(?:bf|it|rm)?|mbox|mathrm|quad|qquad|left|right|displaystyle|begin\{[a-z*]{1,12}\}|end\{[a-z*]{1,12}\})"
    r"(?![A-Za-z])"
)
# The name of a second value, as in "and $x = \boxed{2}$".
_NAME = re.compile(r"(?<![A-Za-z\\])\\?[A-Za-z]{1,8}(?:_\{?\w{1,3}\}?)?\s{0,3}&?=")
_JOINT = re.compile(r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])", re.IGNORECASE)
_OPERATOR = re.compile(r"\\[A-Za-z]{1,20}")


class Box(NamedTuple):
    """Where a box starts and ends in its text, and what it holds; "" if it is empty or cut off."""

    start: int
    end: int
    content: str


def closing(text: str, opening: int) -> int:
    r"""Where the brace that opens at ``opening`` is closed; -1 if it is not, or not within `LONGEST` characters.

    Escaped braces are no braces. Only where no brace closes, an escaped one that has no partner does: ``\boxed{5\}``.
    """
    for escaped in (False, True):
        depth = 0
        for match in _BRACE.finditer(text, opening, opening + LONGEST):
            brace = match[0][-1] if escaped or len(match[0]) == 1 else ""
            depth += (brace == "{") - (brace == "}")
            if brace == "}" and depth == 0:
                return match.start()
    return -1


def boxes(text: str) -> list[Box]:
    """The last boxes of a text, in order. A box inside a box is part of the outer one."""
    found: list[Box] = []
    for match in list(_BOX.finditer(text))[-MOST:]:
        if found and match.start() < found[-1].end:
            continue
        if text[match.end() - 1] == "{":
            end = closing(text, match.end() - 1)
            content = text[match.end() : end] if end >= 0 else ""
            found.append(Box(match.start(), (end if end >= 0 else match.end()) + 1, _inner(content)))
        else:  # \boxed 5
            word = _WORD.match(text, match.end())
            end = word.end() if word else match.end()
            found.append(Box(match.start(), end, word[0].rstrip(".,;") if word else ""))
    return found


def _inner(content: str) -> str:
    content = _BOX.sub("{", content).strip()
    for _ in range(4):
        if not content.startswith("{") or closing(content, 0) != len(content) - 1:
            break
        content = content[1:-1].strip()
    return content


def is_joint(between: str) -> bool:
    r"""Does the text between two boxes make them one answer? It does unless it holds prose or a formula.

    >>> is_joint(r"\) and \("), is_joint(r"$, $y = "), is_joint(r"$, no: the sum is $"), is_joint(r"$. $6+1 = ")
    (True, True, False, False)
    """
    if len(between) > 200:
        return False
    rest = _TYPESETTING.sub(" ", between)
    rest = _OPERATOR.sub(" ", _JOINT.sub(" ", _NAME.sub(" ", rest)))
    return not any(character.isalnum() for character in rest)


def last_answer(text: str) -> tuple[int, str]:
    r"""Start and content of the last box, with those it is joined to as ``first,second``; (-1, "") without a box.

    A box that is empty or cut off is an answer that is missing: no earlier box stands in for it.
    """
    found = boxes(text)
    if not found or not found[-1].content:
        return (found[-1].start, "") if found else (-1, "")
    values = [found[-1].content]
    for earlier, later in zip(reversed(found[:-1]), reversed(found[1:]), strict=True):
        if not earlier.content or not is_joint(text[earlier.end : later.start]):
            break
        if earlier.content not in values:
            values.insert(0, earlier.content)
    return found[-1].start, ",".join(values)


_CORRECTION = re.compile(
    r"\b(?:no|not|wait|wrong|mistake|actually|instead|but|however|rather|sorry|oops|correct(?:ion|ed|ing)?|should)\b",
    re.I,
)


def all_answers(text: str) -> str:
    r"""The contents of all boxes as ``first,second``; "" if there are fewer than two, too many, or one is taken back.

    >>> all_answers(r"If $r = 1$, $\boxed{2}$. If $r = -1$, $\boxed{3}$."), all_answers(r"$\boxed{2}$, no: $\boxed{3}$")
    ('2,3', '')
    """
    found = boxes(text)
    if not 1 < len(found) < MOST or not all(box.content for box in found):
        return ""
    if any(_CORRECTION.search(text, one.end, other.start) for one, other in zip(found[:-1], found[1:], strict=True)):
        return ""
    return ",".join(dict.fromkeys(box.content for box in found))
