"""Mathematical answers: equal as text or as plain numbers here, anything else by math-verify in a worker process.

Most answers of the benchmarks are integers, so most grades cost microseconds and need no process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from .extract import final_answer
from .grade import Grade, verdict
from .pool import shared

#: Longer answers, and deeper nested ones, are compared as text only.
LONGEST, DEEPEST = 600, 25
#: Two plain numbers, one of them a decimal, are equal within this, absolute below 1 and relative too: 1/3 is 0.333333,
#: and 0.00000003 is not 0.00000004 (math-verify rounds both to 6 places and holds them for equal).
TOLERANCE = Fraction(1, 10**6)

_REPLACE = [
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[!,;:> ]|\\q?quad(?![a-zA-Z])|~"), " "),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mbox|math(?:rm|bf|it|sf)|operatorname)\s?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\^\{?\\circ\}?|\\degree|°"), ""),
    (re.compile(r"\\frac\s?(\d)\s?(\d)(?!\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\\$|\$|\\[()\[\]]"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"[−–]"), "-"),
]
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s?(?:"
    r"(?P<whole>\d{1,3}(?:[, ]\s?\d{3})+|\d+)(?P<point>\.\d*)?|(?P<only>\.\d+))"
    r"(?:(?:[eE]|\s?(?:\\times|\\cdot|\*|×)\s?10\s?\^)\s?\{?\s?(?P<power>[-+]?\d{1,3})\s?\}?)?"
    r"(?P<percent>\s?(?:%|percent|pct))?",
)
_FRACTION = re.compile(
    r"(?P<sign>[-+]?)\s?(?:(?P<whole>\d{1,12})\s?(?=\\frac|(?<=\s)\d))?"
    r"(?:\\frac\s?\{\s?(?P<minus>-?)(?P<a>\d{1,30})\s?\}\s?\{\s?(?P<b>\d{1,30})\s?\}|(?P<c>\d{1,30})\s?/\s?(?P<d>\d{1,30}))"
    r"(?P<percent>\s?(?:%|percent|pct))?"
)
_UNIT = re.compile(
    r"(?P<currency>[£€¥]?)\s?(?P<number>[-+]?[\d.,/]+)\s?(?P<unit>[a-zA-Z]{2,}(?:[ /][a-zA-Z.]+){0,4}|[mgshL])?"
    r"(?:\s?\^\s?\{?[23]\}?|[²³])?\.?"
)
_BASE = re.compile(r"([-+]?[0-9A-Za-z.]{1,60})\s?_\s?(?:\{\s?(\d{1,3})\s?\}|(\d{1,3}))")
#: Words after a number that change its value, or that make a list of it.
_NOT_UNITS = re.compile(
    r"\b(?:or|and|to|pi|hundred|thousand|million|billion|trillion|dozen|half|quarter|third|over|mod|base|sqrt|log|ln|exp"
    r"|sin|cos|tan)\b",
    re.IGNORECASE,
)


class Number(NamedTuple):
    value: Fraction
    exact: bool
    percent: bool


def normalise(answer: str) -> str:
    """The answer without what only typesets it; words in lower case."""
    for pattern, replacement in _REPLACE:
        answer = pattern.sub(replacement, answer)
    answer = " ".join(answer.split()).strip().removesuffix(".").strip()
    letters = re.fullmatch(r"\(?([A-Za-z])\)?", answer)  # an option: (C) is C
    if letters:
        return letters[1]
    return answer.casefold() if re.fullmatch(r"[A-Za-z][A-Za-z' ]+", answer) else answer


def number(text: str) -> Number | None:
    """A plain number in normalised text: integer, decimal, power of ten, fraction, mixed number, percentage."""
    match = _NUMBER.fullmatch(text)
    if match and len(text) <= 120:
        whole = re.sub(r"[, ]", "", match["whole"] or "0")
        digits = whole + (match["point"] or match["only"] or "")
        value = Fraction(digits.removesuffix(".")) * Fraction(10) ** int(match["power"] or 0)
        exact = not (match["point"] or match["only"] or "").strip("0.") and int(match["power"] or 0) >= 0
        return Number(-value if match["sign"] == "-" else value, exact, bool(match["percent"]))
    match = _FRACTION.fullmatch(text)
    below = match and int(match["b"] or match["d"])
    if not below:
        return None
    value = int(match["whole"] or 0) + Fraction(int(match["a"] or match["c"]), below)
    if (match["sign"] == "-") != (match["minus"] == "-"):
        value = -value
    return None if match["minus"] and match["whole"] else Number(value, True, bool(match["percent"]))


def same_number(one: Number, other: Number) -> bool:
    """Equal exactly, or within `TOLERANCE` if one is a decimal; a percentage is read as 28 and as 0.28."""

    def near(a: Fraction, b: Fraction) -> bool:
        if one.exact and other.exact:
            return a == b
        return abs(a - b) <= TOLERANCE * min(1, max(abs(a), abs(b)))

    if one.percent == other.percent:
        return near(one.value, other.value)
    percentage, plain = (one.value, other.value) if one.percent else (other.value, one.value)
    return near(percentage, plain) or near(percentage / 100, plain)


def _without_unit(text: str) -> Number | None:
    match = _UNIT.fullmatch(text)
    if not match or not (match["unit"] or match["currency"]) or _NOT_UNITS.search(match["unit"] or ""):
        return None
    return number(match["number"].rstrip(".,"))


def _digits(text: str) -> tuple[str, str] | None:
    """Digits and base of a number like 2516_8 in normalised text; x_1 is not one."""
    match = _BASE.fullmatch(text)
    return (match[1].lstrip("+"), match[2] or match[3]) if match and re.search(r"\d", match[1]) else None


@lru_cache(maxsize=1 << 14)
def equal(gold: str, pred: str) -> bool:
    """Is ``pred`` the same answer as ``gold``? Both as LaTeX or plain text, without a box around them."""
    if not pred.strip():
        return False
    one, other = normalise(gold), normalise(pred)
    # Spaces between words count, in formulas they do not.
    if one == other or (not one.isalpha() and one.replace(" ", "") == other.replace(" ", "")):
        return True
    if len(pred) > LONGEST or pred.count("{") > DEEPEST or pred.count("(") > DEEPEST:
        return False
    in_base, other_in_base = _digits(one), _digits(other)
    if in_base and other_in_base:  # math-verify drops the base
        return in_base == other_in_base
    if in_base or other_in_base:
        return (in_base or [one])[0] == (other_in_base or [other])[0]
    first, second = number(one), number(other)
    if first and second:
        return same_number(first, second)
    if first or second:
        with_unit = first or _without_unit(one), second or _without_unit(other)
        if all(with_unit):
            return same_number(*with_unit)
    return bool(shared().run("math", gold, pred))


def grade(response: str, gold: str, extra: Mapping[str, Any]) -> Grade:
    """Grade the final answer of a response."""
    pred = final_answer(response)
    return verdict(equal(gold, pred), pred)
