"""Answers that are nearly a ground truth and wrong, made from it in ways that policies and graders get wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

_FACTOR = re.compile(r"(?<=[\d}])\s?[a-zA-Z]{0,3}?([a-zA-Z])(?![a-zA-Z{(_])(?:\s?\^\s?(?:\{\d+\}|\d))?")
_LETTER = re.compile(r"(?<![\\a-zA-Z{])([a-zA-Z])(?![a-zA-Z{(:])")
_TUPLE = re.compile(r"\(([^()[\]]*,[^()[\]]*)\)")
_OTHER_UNITS = {
    **{"cm": "km", "inches": "feet", "feet": "yards", "ft": "cm", "meters": "miles", "m": "cm", "dollars": "cents"},
    **{"cents": "dollars", "degrees": "radians", "hours": "minutes", "minutes": "hours", "pounds": "grams", "gm": "kg"},
    **{"mph": "km/h", "a.m.": "p.m.", "p.m.": "a.m.", "PM": "AM", "km": "m", "square units": "cubic units"},
}


def _formula(gold: str) -> bool:
    return not re.search(r"\\text|\\mbox|\\mathrm", gold)


def _unescaped(gold: str) -> str:
    return gold.replace(r"\!", "")


def digit(gold: str) -> str | None:
    """The first digit is another one; not that of a base or of a unit's power."""
    found = re.search(r"\d", gold)
    return f"{gold[: found.start()]}{(int(found[0]) + 1) % 10 or 1}{gold[found.end() :]}" if found else None


def longer(gold: str) -> str | None:
    """The last whole number is ten times as large."""
    found = list(re.finditer(r"(?<![\d._^])\d+(?![\d.}]|[,!\\]*\d)", _unescaped(gold)))
    if not found or not int(found[-1][0]):
        return None
    return f"{_unescaped(gold)[: found[-1].end()]}0{_unescaped(gold)[found[-1].end() :]}"


def sign(gold: str) -> str | None:
    """The whole answer has the other sign."""
    if not re.match(r"-?\s?(?:\\frac|\\sqrt|\d)", gold) or not _formula(gold) or re.search(r"[,=]|\\pm|^0$|_|:", gold):
        return None
    if re.search(r"(?<=[\d}a-z)])\s?[-+]", gold):
        return None
    return gold.removeprefix("-").strip() if gold.startswith("-") else f"-{gold}"


def inner_sign(gold: str) -> str | None:
    """One plus inside is a minus, or the other way round."""
    found = re.search(r"(?<=[\w})])\s?([-+])(?=\s?[\d\\a-z(])", gold)
    if not found or not _formula(gold) or "_" in gold:
        return None
    return f"{gold[: found.start(1)]}{'-' if found[1] == '+' else '+'}{gold[found.end(1) :]}"


def variable_dropped(gold: str) -> str | None:
    """A letter behind a number, or behind another factor, is gone."""
    found = list(_FACTOR.finditer(gold))
    if not found or not _formula(gold) or "\\begin" in gold:
        return None
    return gold[: found[-1].start(1)] + gold[found[-1].end() :]


def variable_renamed(gold: str) -> str | None:
    """One letter is another letter, everywhere."""
    found = _LETTER.search(gold)
    if not found or not _formula(gold) or "\\begin" in gold or not re.search(r"[-+\d^*/]", gold) or "_" in gold:
        return None
    other = "w" if found[1] != "w" else "v"
    return re.sub(rf"(?<![\\a-zA-Z{{]){found[1]}(?![a-zA-Z{{])", other, gold)


def unit(gold: str) -> str | None:
    """Another unit of measurement."""
    found = re.search(r"\\(?:text|mbox|mathrm)\s?\{([^{}]*)\}", gold)
    if not found or not re.search(r"\d", gold) or found.start() == 0 and not re.search(r"[ap]\.m\.|PM", found[1]):
        return None
    words = found[1].strip().rstrip(".") if not found[1].strip().endswith(".m.") else found[1].strip()
    known = next((name for name in _OTHER_UNITS if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)), None)
    return gold.replace(known, _OTHER_UNITS[known], 1) if known else None


def order(gold: str) -> str | None:
    """Two entries of a tuple change places."""
    found = _TUPLE.fullmatch(gold.replace("\\left", "").replace("\\right", ""))
    parts = found[1].split(",") if found else []
    if len(parts) < 2 or parts[0].strip() == parts[1].strip():
        return None
    parts[0], parts[1] = parts[1], parts[0]
    return f"({','.join(parts)})"


def one_left_out(gold: str) -> str | None:
    """One of several values is missing."""
    if re.search(r"[()[\]]|\\begin|\d,\d{3}|\\!|\\text", gold) or len(set(gold.replace(" ", "").split(","))) < 2:
        return None
    return gold.rpartition(",")[0]


def one_more(gold: str) -> str | None:
    """The right answer and another one."""
    return f"{gold}, 1234567" if _formula(gold) and re.search(r"\d", gold) else None


def brackets(gold: str) -> str | None:
    """An interval that is closed where it should be open."""
    found = _TUPLE.fullmatch(gold.replace("\\left", "").replace("\\right", ""))
    return f"[{found[1]}]" if found else None


def split_digits(gold: str) -> str | None:
    """A space between two digits."""
    found = re.fullmatch(r"(-?\d)(\d{1,2}|\d{4,})", gold)
    return f"{found[1]} {found[2]}" if found else None


def another_word(gold: str) -> str | None:
    """Another option, day or property."""
    found = re.fullmatch(r"(\\text\s?\{|\\mbox\s?\{|)(\(?)([A-Za-z]{1,12})(\)?)(\}?)", gold)
    if not found or (not found[1] and len(found[3]) > 1):
        return None
    word = ("Z" if found[3] != "Z" else "Y") if len(found[3]) == 1 else "zebra"
    return f"{found[1]}{found[2]}{word}{found[4]}{found[5]}"


def scaled(gold: str) -> str | None:
    """A word behind the number that multiplies it."""
    return rf"{gold} \text{{ million}}" if re.fullmatch(r"-?[1-9]\d*", gold) else None


MUTATIONS: tuple[Callable[[str], str | None], ...] = (
    *(digit, longer, sign, inner_sign, variable_dropped, variable_renamed, unit, order, one_left_out, one_more),
    *(brackets, split_digits, another_word, scaled),
)
