r"""The unit after a value, and other words there, such as "apples" or "left over".

If one of two answers leaves out the unit, they can still be the same, since most questions name the unit. Two units
have to agree. Words that change the value (5 factorial, 5 or 6, two thirds) are not units.
"""

from __future__ import annotations

import re

from .numbers import SCALES, in_words, number

_SYNONYMS = {
    "mm": "millimeter millimetre",
    "cm": "centimeter centimetre",
    "dm": "decimeter decimetre",
    "m": "meter metre",
    "km": "kilometer kilometre",
    "in": "inch inche",
    "ft": "foot feet",
    "yd": "yard",
    "mi": "mile",
    "mg": "milligram",
    "g": "gram gm gramme",
    "kg": "kilogram kilo",
    "t": "ton tonne",
    "lb": "pound",
    "oz": "ounce",
    "s": "second sec",
    "min": "minute",
    "h": "hour hr",
    "day": "",
    "week": "wk",
    "month": "",
    "year": "yr",
    "ml": "milliliter millilitre",
    "l": "liter litre",
    "gal": "gallon",
    "degree": "deg",
    "rad": "radian",
    "celsius": "c",
    "fahrenheit": "f",
    "mph": "",
    "dollar": "usd buck",
    "cent": "¢",
    "euro": "€ eur",
    "£": "gbp quid",
    "¥": "yen",
    "rupee": "r rs inr",
    "acre": "",
    "hectare": "ha",
    "n": "newton",
    "j": "joule",
    "w": "watt",
    "v": "volt",
    "hz": "hertz",
    "am": "",
    "pm": "",
    "unit": "",
}
_MEASURES = {name: short for short, names in _SYNONYMS.items() for name in (short, *names.split())}
# Single letters that are units after a number and a space, as in "5 m". Other single letters are variables.
_LETTERS = frozenset("mgshlLCFNJWV")
# Units that may follow a number without a space. 2ft is left out, since it may be a product.
_GLUED = frozenset(["mm", "cm", "km", "kg", "mg", "ml", "mph", "am", "pm", "a.m", "p.m", "st", "nd", "rd", "th"])
_FILLING = re.compile(
    "of|the|in|an?|total|altogether|left|over|remaining|each|per|all|them|its?|that|this|is|are|will|be|for|on|at|by|more"
    "|now|only|overall|away|apart|together|tall|long|wide|old|high|deep|worth|extra|additional|there|these|those|his|her"
    "|their|s?he|they|we|you|has|have|had|do|does|can|every|combined|so|about"
)
# Words that change the value of the number before them, or make it a list.
_CHANGES = re.compile(
    r"\b(?:or|and|to|through|versus|vs|but|not|nor|than|plus|minus|times|divided|multiplied|mod|modulo|base"
    r"|factorial|squared|cubed|powers?|roots? of|point|half|halves|thirds?|fourths?|quarter|fifths?|sixths?|sevenths?"
    r"|eighths?|ninths?|tenths?|hundredths?|thousandths?|tens|hundreds?|thousands?|[mb]illions?|trillions?|lakhs?"
    r"|crores?|mil|k|score|pairs?|gross|dozens?|double|twice|triple|pi|sqrt|log|ln|exp|sin|cos|tan|infinity|negative|e|i|x|y|z)\b"
)
_TEXT_UNIT = re.compile(r"\\text\s?\{([^{}]*)\}\s?(?:\^\s?\{?\s?(\d)\s?\}?)?[\s.,]*$")
_PLAIN_UNIT = re.compile(
    r"(?P<value>.*?[\d%})])(?P<gap>\s*)(?P<unit>[/¢€£a-zA-Z°][a-zA-Z.,/'%&\s-]*(?:\([^()]*\))?)\s?"
    r"(?:\^\s?\{?\s?(?P<power>\d)\s?\}?)?[\s.,!]*"
)
_IN_PARENTHESES = re.compile(r"(?P<value>.*?\S)\s*\((?P<inside>[A-Za-z][^()\d]*)\)(?P<rest>.*)", re.DOTALL)
_CURRENCY = re.compile(r"^([£€¥]|Rs\.?)\s?(?=[-\d.])")


def canonical(unit: str, power: str = "") -> tuple[str, ...] | None:
    """The words of a unit, with measures by their short names; None if a word changes the value.

    Args:
        unit: the words after a number.
        power: its exponent, as ``2`` of cm^2; "" for none.

    >>> canonical("square inches"), canonical("cm", "2"), canonical("apples, altogether"), canonical("million")
    (('in', '^2'), ('cm', '^2'), ('apple',), None)
    """
    text = re.sub(r"\b([ap])\.?\s?m\b\.?", r"\1m", unit.casefold().strip())
    text = re.sub(r"(?<=\w)\^\{?(\d)\}?", r" ^\1", text).replace("/", " / ")
    if re.search(r"\d", text.replace("^2", "").replace("^3", "")) or len(text) > 120:
        return None
    found: list[str] = []
    for word in re.findall(r"\^\d|[^\W\d_]+(?:'[a-z]+)?|[¢€£¥%]", text):
        if word in ("square", "sq", "cubic", "cu"):
            power = "2" if word.startswith("s") else "3"
        elif word in ("squared", "cubed") and found and found[-1] in _SYNONYMS:
            power = "2" if word == "squared" else "3"
        elif word.startswith("^"):
            power = word[1]
        elif _CHANGES.fullmatch(word) or in_words(word) is not None:
            return None
        elif not _FILLING.fullmatch(word) or (word == "in" and not found and len(text) < 4):
            stem = word if word in _MEASURES or len(word) < 3 else word.removesuffix("s")
            found.append(_MEASURES.get(stem, stem))
    if _CHANGES.search(text) and not found:
        return None
    return (*found, *([f"^{power}"] if power in ("2", "3") else []))


def agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two values with these units can be the same. They can if one of them has no unit.

    >>> agree(("cm",), ()), agree(("cm",), ("m",)), agree(("red", "apple"), ("apple",))
    (True, False, True)
    """
    if not one or not other or one == other:
        return True
    measures = [{word for word in words if word in _SYNONYMS or word.startswith("^")} for words in (one, other)]
    if measures[0] or measures[1]:
        return measures[0] == measures[1]
    return bool(set(one) & set(other))


def without(text: str, *, formula: bool = False) -> tuple[str, tuple[str, ...]]:
    r"""An answer without its unit, and the unit; the answer as it is, and (), if it has none.

    Args:
        text: as `latex.tidy` returns it.
        formula: whether letters that are no measure, and are not set as text, are variables, as in the ground truth
            6 abc.

    >>> without(r"8\sqrt{3} \text{ square inches}"), without("5 apples"), without("6xy"), without("5 factorial")
    (('8\\sqrt{3}', ('in', '^2')), ('5', ('apple',)), ('6xy', ()), ('5 factorial', ()))
    """
    currency = _CURRENCY.match(text)
    if currency:
        value, unit = text[currency.end() :], canonical(currency[1]) or ()
        return (value, unit) if number(value) else (text, ())
    value, units = text, ()
    for _ in range(3):
        found = _last_unit(value, formula)
        if found is None:
            break
        value, units = found[0], found[1] + units
    return value, units


def _spoken(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Value and unit of an answer whose number is spelled in words: "thirteen apples", "eight (8)"."""
    words = text.split()
    for size in range(min(len(words), 8) - 1, 0, -1):
        value = in_words(" ".join(words[:size]))
        if value is not None:
            rest = " ".join(words[size:])
            unit = () if rest.strip("()") == str(value) else canonical(rest)
            return None if unit is None else (str(value), unit)
    return None


def _last_unit(text: str, formula: bool) -> tuple[str, tuple[str, ...]] | None:
    if text[:1].isalpha() and not formula:
        return _spoken(text)
    match = _IN_PARENTHESES.fullmatch(text)
    if match and number(match["value"]):
        spoken, unit = in_words(match["inside"]), canonical(match["inside"])
        if unit is not None or (spoken is not None and spoken == number(match["value"]).value):  # 5 (five), 5 (in cm)
            return (match["value"] + match["rest"]).strip(), unit or ()
    match = _TEXT_UNIT.search(text)
    if (
        match and re.sub(r"\\text\s?\{[^{}]*\}", "", text[: match.start()]).strip()
    ):  # an answer that is only text has no unit
        value, words = text[: match.start()].strip(), match[1]
        if number(value) and in_words(words.strip(" ()")) == number(value).value:  # 5 \text{ (five)}
            return value, ()
    else:
        match = _PLAIN_UNIT.fullmatch(text)
        if not match or "\\text" in match["unit"]:
            return None
        value, words = match["value"], match["unit"]
        plain = number(value) is not None
        letters = words.strip(" .,")
        measure = bool(set(canonical(words) or ()) & set(_SYNONYMS))
        if len(letters) == 1 and letters not in "¢€£":
            known = plain and not formula and match["gap"] and letters in _LETTERS
        elif not match["gap"] and letters[0].isalpha():
            known = plain and (letters.casefold() in _GLUED or (measure and not formula))
        else:
            known = measure or (plain and not formula and (not letters.isalpha() or len(letters) > 2))
        if not known:
            return None
    first, _, rest = words.strip().partition(" ")
    if first.casefold() in SCALES and rest:  # 5 million dollars
        value, words = f"{value} {first}", rest
    unit = canonical(words, match[2] or "" if match.re is _TEXT_UNIT else match["power"] or "")
    return None if unit is None or not value else (value, unit)
