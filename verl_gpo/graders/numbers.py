"""Plain numbers: digits with thousands, decimals, powers of ten, fractions, mixed numbers, percentages, words."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

#: Two plain numbers of which one is a decimal are equal if they differ by at most this, and, below 1, by at most this
#: share of the larger one. So 1/3 is 0.333333, and 0.00000003 is not 0.00000004 (math-verify rounds both to 6 places
#: and takes them for equal).
TOLERANCE = Fraction(1, 10**6)

_PERCENT = r"(?P<percent>\s?(?:%|percent(?:age points?)?|per cent|pct))?"
# A comma separates thousands only if no space follows it: "100, 200" are two numbers.
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s?(?:"
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)(?P<point>\.\d*)?|(?P<only>\.\d+))"
    r"(?:(?:[eE]|\s?(?:\\times|\\cdot|\*|x(?=\s?10))\s?10\s?\^)\s?\{?\s?(?P<power>[-+]?\d{1,3})\s?\}?)?" + _PERCENT
)
_POWER = re.compile(r"(?P<sign>[-+]?)\s?10\s?\^\s?\{?\s?(?P<power>[-+]?\d{1,3})\s?\}?")
_FRACTION = re.compile(
    r"(?P<sign>[-+]?)\s?(?:(?P<whole>\d{1,12})\s?(?=\\frac|(?<=\s)\d))?"
    r"(?:\\frac\s?\{\s?(?P<minus>-?)\s?(?P<a>\d{1,30})\s?\}\s?\{\s?(?P<b>\d{1,30})\s?\}"
    r"|(?P<c>\d{1,30})\s?/\s?(?P<d>\d{1,30}))" + _PERCENT
)
_REPEATING = re.compile(r"(?P<sign>[-+]?)(?P<whole>\d{0,12})\.(?P<fixed>\d{0,12})\\overline\s?\{(?P<period>\d{1,12})\}")
_BASE = re.compile(
    r"\(?\s?([-+]?[0-9A-Za-z.]{1,60})\s?\)?\s?_\s?(?:\{\s?\(?\s?(?:base\s)?\s?(\w{1,10})\s?\)?\s?\}|(\d))"
)
_BASE_IN_WORDS = re.compile(r"([-+]?[0-9A-Za-z.]{1,60})\s{1,3}\(?(?:in\s)?base[\s-]{1,2}(\d{1,3}|[a-z]{3,8})\)?()")

_SMALL = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = {
    name: 10 * value
    for value, name in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)  # noqa: SIM905
}
_UNITS = {word: value for value, word in enumerate(_SMALL)} | {"a": 1, "no": 0, "none": 0}
#: Words that multiply the number before them.
SCALES = {
    **{"dozen": 12, "hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7},
    **{"billion": 10**9, "trillion": 10**12},
}


class Number(NamedTuple):
    """A plain number.

    Attributes:
        value: its value; 28 for 28 %.
        exact: whether it was written as an integer or a fraction, and not as a decimal.
        percent: whether it was written as a percentage.
    """

    value: Fraction
    exact: bool
    percent: bool


def in_words(text: str) -> int | None:
    """The whole number that English words spell, None if they do not spell one.

    >>> in_words("fifteen"), in_words("one hundred and twenty-three"), in_words("two thirds")
    (15, 123, None)
    """
    words = text.casefold().replace("-", " ").replace(",", " ").split()
    sign = -1 if words[:1] in (["minus"], ["negative"]) else 1
    words = words[1:] if sign < 0 else words
    if not words or len(words) > 20 or (words[0] == "a" and len(words) == 1):
        return None
    total = group = 0
    last = "and"
    for word in words:
        if word == "and" and last in ("hundred", "thousand", "million"):
            last = word
            continue
        if word in SCALES:
            if last == "and":
                return None
            scale = SCALES[word]
            group = group * scale
            if scale >= 1000:
                total, group = total + group, 0
        elif word in _TENS and last not in _TENS and last not in _UNITS:
            group += _TENS[word]
        elif word in _UNITS and last not in _UNITS and (last not in _TENS or 0 < _UNITS[word] < 10):
            group += _UNITS[word]
        else:
            return None
        last = word
    return None if last == "and" else sign * (total + group)


def number(text: str) -> Number | None:
    """The plain number that a text holds, None if it holds anything else.

    Args:
        text: as `latex.tidy` returns it.

    >>> number("1,250.5").value, number("1 1/2").value, number("5 million").value, number("100, 200"), number("1 2")
    (Fraction(2501, 2), Fraction(3, 2), Fraction(5000000, 1), None, None)
    """
    if len(text) > 120 or not text:
        return None
    words, scale = text.split(), 1
    while len(words) > 1 and words[-1].casefold() in SCALES:
        scale *= SCALES[words.pop().casefold()]
    if scale > 1:
        found = number(" ".join(words))
        return None if found is None or found.percent else found._replace(value=found.value * scale)
    match = _NUMBER.fullmatch(text)
    if match:
        decimals, power = match["point"] or match["only"] or "", int(match["power"] or 0)
        digits = re.sub(r"[, ]", "", match["whole"] or "0") + decimals
        value = Fraction(digits.removesuffix(".")) * Fraction(10) ** power
        return Number(
            -value if match["sign"] == "-" else value, not decimals.strip("0.") and power >= 0, bool(match["percent"])
        )
    match = _FRACTION.fullmatch(text)
    if match:
        below = int(match["b"] or match["d"])
        if not below or (match["minus"] and match["whole"]):
            return None
        value = int(match["whole"] or 0) + Fraction(int(match["a"] or match["c"]), below)
        negative = (match["sign"] == "-") != (match["minus"] == "-")
        return Number(-value if negative else value, True, bool(match["percent"]))
    match = _POWER.fullmatch(text)
    if match:
        value = Fraction(10) ** int(match["power"])
        return Number(-value if match["sign"] == "-" else value, True, False)
    match = _REPEATING.fullmatch(text)
    if match:
        fixed, period = match["fixed"], match["period"]
        value = Fraction(
            int(match["whole"] + fixed or 0) + Fraction(int(period), 10 ** len(period) - 1), 10 ** len(fixed)
        )
        return Number(-value if match["sign"] == "-" else value, True, False)
    spoken = in_words(text) if text[:1].isalpha() else None
    return None if spoken is None else Number(Fraction(spoken), True, False)


def same_number(one: Number, other: Number) -> bool:
    """Whether two numbers are equal: exactly, or within `TOLERANCE` if one is a decimal.

    A percentage such as 28 % equals both 28 and 0.28.

    >>> same_number(number("28%"), number("0.28")), same_number(number("1/3"), number("0.33"))
    (True, False)
    """

    def near(a: Fraction, b: Fraction) -> bool:
        if one.exact and other.exact:
            return a == b
        return abs(a - b) <= TOLERANCE * min(1, max(abs(a), abs(b)))

    if one.percent == other.percent:
        return near(one.value, other.value)
    percentage, plain = (one.value, other.value) if one.percent else (other.value, one.value)
    return near(percentage, plain) or near(percentage / 100, plain)


def in_base(text: str) -> tuple[str, str] | None:
    """Digits and base of a number such as 2516_8, None for anything else, such as x_1.

    Args:
        text: as `latex.tidy` returns it.

    >>> in_base("2516_8"), in_base("1010 base two"), in_base("x_1")
    (('2516', '8'), ('1010', '2'), None)
    """
    text = " ".join(re.sub(r"\\text\s?\{([^{}]*)\}", r" \1 ", text).split())
    match = _BASE.fullmatch(text) or _BASE_IN_WORDS.fullmatch(text)
    if (
        not match
        or not re.search(r"\d", match[1])
        or re.fullmatch(r"[A-Za-z]+\d*", match[1])
        and not match[1].isupper()
    ):
        return None
    base = match[2] or match[3] or ""
    value = base if base.isdigit() else in_words(base)
    return None if value is None else (match[1].lstrip("+").upper(), str(value))
