r"""Boxes in LaTeX: what ``\boxed{...}``, ``\fbox{...}`` and ``\framebox{...}`` hold, and which of them are one answer.

Used for published solutions (`verl_gpo.data.gold`) and for responses (`verl_gpo.graders.extract`). The time is linear
in
the length of the text: every repetition in these patterns is bounded, so none can backtrack without end.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Largest number of characters of an answer; what is longer is not one.
LONGEST = 2_000
#: Number of boxes that are read, from the end of a text. An answer of several values has fewer.
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
    """A box in a text: the position of its first character, that after its last, and its content.

    The content is "" if the box is empty or cut off.
    """

    start: int
    end: int
    content: str


def closing(text: str, opening: int) -> int:
    r"""Position of the brace that closes the one at ``opening``; -1 if there is none within `LONGEST` characters.

    Escaped braces do not count. Only if no brace closes the first one, an escaped one without a partner does, as in
    ``\boxed{5\}``.
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
    """The last boxes of a text, at most `MOST`, in their order. A box inside of a box is part of the outer one."""
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
    r"""Whether the text between two boxes makes them one answer. It does unless it holds prose or a formula.

    >>> is_joint(r"\) and \("), is_joint(r"$, $y = "), is_joint(r"$, no: the sum is $"), is_joint(r"$. $6+1 = ")
    (True, True, False, False)
    """
    if len(between) > 200:
        return False
    rest = _TYPESETTING.sub(" ", between)
    rest = _OPERATOR.sub(" ", _JOINT.sub(" ", _NAME.sub(" ", rest)))
    return not any(character.isalnum() for character in rest)


def last_answer(text: str) -> tuple[int, str]:
    r"""Start and content of the last box; (-1, "") if there is no box.

    If the boxes before it belong to the same answer (`is_joint`), the content is ``first,second``. If the last box is
    empty or cut off, the answer is missing: no earlier box takes its place.
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
    r"""The contents of all boxes as ``first,second``.

    Returns:
        "" if there are fewer than two boxes or at least `MOST`, or if the words after one of them take it back.

    >>> all_answers(r"If $r = 1$, $\boxed{2}$. If $r = -1$, $\boxed{3}$."), all_answers(r"$\boxed{2}$, no: $\boxed{3}$")
    ('2,3', '')
    """
    found = boxes(text)
    if not 1 < len(found) < MOST or not all(box.content for box in found):
        return ""
    if any(_CORRECTION.search(text, one.end, other.start) for one, other in zip(found[:-1], found[1:], strict=True)):
        return ""
    return ",".join(dict.fromkeys(box.content for box in found))
