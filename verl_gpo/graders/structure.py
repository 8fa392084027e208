r"""Answers of several parts: lists, sets, tuples, intervals, unions, matrices, equations and ranges.

`compare` decides what the structure decides, and passes the parts to a function of its caller, the `Leaf`, which
compares two values.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import latex, numbers

#: Lists with more items are never equal, unless their texts are the same.
MOST = 40
#: Compares two parts of answers: the right one and that of a response.
Leaf = Callable[[str, str], bool]

_RELATIONS = ("<", ">", r"\le", r"\ge")
_TURNED = {">": "<", r"\ge": r"\le"}
_AND = re.compile(
    r"\s*(?:,\s*)?(?:\\text\s?\{\s*(?:,\s*)?(?:and|or)\s*\}|(?<![\\a-zA-Z{])(?:and|or)(?![a-zA-Z]))\s*", re.I
)
# No two alternatives of this pattern match at the same place: otherwise a text that fails after 80 of them would take
# forever.
_AND_OUTSIDE_TEXT = re.compile(
    rf"(?P<text>\\text\s?\{{(?!\s*(?:,\s*)?(?:and|or)\s*\}})[^{{}}]*\}})|{_AND.pattern}", re.IGNORECASE
)
_SIDE = r"(?:\\(?!text)[a-zA-Z]+(?![a-zA-Z])|\\text\s?\{[^{}]*\}|_\s?(?:\{[^{}]{1,12}\}|\w)"
_SIDE += r"|[a-zA-Z'|^{}()\[\], +*/;:-])"
_NAME = re.compile(rf"(?=.*[a-zA-Z]){_SIDE}{{1,80}}")
_REALS = re.compile(
    r"\\mathbb\s?\{?R\}?|\\text\s?\{\s*(?:all )?real(?:s| numbers)\s*\}|(?:all )?real(?:s| numbers)", re.I
)
_MATRIX = re.compile(
    r"\\begin\s?\{([pbvVB]?)matrix\}(.*)\\end\s?\{\1matrix\}|\\begin\s?\{(array)\}\s?\{[^{}]*\}(.*)\\end\s?\{array\}"
)


def items(text: str) -> list[str]:
    r"""The values of a list, split at commas, semicolons, "and" and "or"; ``\pm`` gives two values.

    >>> items(r"1 \text{ and } 2"), items(r"1 \pm \sqrt{2}"), items("(1,2), 3"), items("1,000")
    (['1', '2'], ['1 + \\sqrt{2}', '1 - \\sqrt{2}'], ['(1,2)', '3'], ['1,000'])
    """
    inside = latex.enclosed(text)
    if inside and inside[0] == r"\{" and inside[2] == r"\}":
        text = inside[1]
    elif numbers.number(text):
        return [text]
    text = re.sub(r"\\text\s?\{([A-Za-z](?:\s?(?:,|,?\s?and\s|&)\s?[A-Za-z])+)\}", r"\1", text)  # \text{A,D}
    joined = _AND_OUTSIDE_TEXT.sub(lambda match: match["text"] or " , ", text)
    parts = [part for _, part in latex.split(joined, (",", ";"))]
    parts = [part for part in parts if part]
    return [signed for part in parts for signed in _both_signs(part)] or [text]


def _both_signs(text: str) -> list[str]:
    if not re.search(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])", text) or latex.enclosed(text):
        return [text]

    def with_sign(plus: str, minus: str) -> str:
        signed = re.sub(r"\\mp(?![a-zA-Z])", minus, re.sub(r"\\pm(?![a-zA-Z])", plus, text))
        return re.sub(r"^-\s+", "-", re.sub(r"^\+\s?|(?<=[=({])\s?\+\s?", "", signed)).strip()

    return [with_sign("+", "-"), with_sign("-", "+")]


def _without_repetition(values: list[str], leaf: Leaf) -> list[str]:
    kept: list[str] = []
    for value in {latex.squeezed(value): value for value in values}.values():
        if not any(leaf(value, other) for other in kept):
            kept.append(value)
    return kept


def _names(values: list[str]) -> list[str]:
    found = [equation(value) for value in values]
    return [latex.squeezed(pair[0]) if pair else "" for pair in found]


def _in_order(gold: list[str], pred: list[str]) -> bool:
    """Whether ``gold`` gives each of its values a name of its own, as in a = 1, b = 2, and ``pred`` gives none."""
    names = _names(gold)
    return len(names) > 1 and all(names) and len(set(names)) == len(names) and not any(_names(pred))


def same_items(gold: list[str], pred: list[str], leaf: Leaf) -> bool:
    """Whether two lists hold the same values, in any order; repetitions count once.

    If only one side names its values, the order counts: a = 1, b = 2 is not 2, 1.

    Args:
        gold: the right values.
        pred: the values of a response.
        leaf: compares two values.
    """
    if len(gold) > MOST or len(pred) > MOST:
        return False
    if _in_order(gold, pred) or _in_order(pred, gold):
        return len(gold) == len(pred) and all(map(leaf, gold, pred))
    if len(gold) != len(pred):
        gold, pred = _without_repetition(gold, leaf), _without_repetition(pred, leaf)
    if len(gold) != len(pred):
        return False
    left = list(pred)
    for value in gold:
        match = next((other for other in left if latex.squeezed(other) == latex.squeezed(value)), None)
        match = match if match is not None else next((other for other in left if leaf(value, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def equation(text: str) -> tuple[str, str] | None:
    r"""Name and value of an answer such as x = 5, ``\angle A = 30`` or f(x) = 2x; of a chain, the last value.

    >>> equation("x = 5+6 = 11"), equation("2x = 10"), equation("7 = 11a+c")
    (('x', '11'), None, None)
    """
    parts = latex.split(text, ("=", r"\approx", r"\equiv"))
    if len(parts) < 2 or any(not part for _, part in parts) or latex.split(text, _RELATIONS)[1:]:
        return None
    name = parts[0][1]
    if latex.enclosed(name) and re.fullmatch(r"\(\s?[a-z](?:\s?,\s?[a-z])+\s?\)", name):
        return name, parts[-1][1]
    return (name, parts[-1][1]) if _NAME.fullmatch(name) and not _AND.search(name) else None


def is_equation(text: str) -> bool:
    """Whether a text has an equality sign that no bracket encloses."""
    return len(latex.split(text, ("=", r"\approx", r"\equiv"))) > 1


def as_interval(text: str) -> tuple[str, str] | None:
    r"""The variable and the set of a condition on one variable, the set as an interval or a union; otherwise None.

    >>> as_interval("0 < x < 1"), as_interval(r"x \ge 5"), as_interval(r"x \in [-2,7]")
    (('x', '(0,1)'), ('x', '[5,\\infty)'), ('x', '[-2,7]'))
    """
    inside = latex.enclosed(text)
    if inside and inside[0] == r"\{":  # {x | x > 1}, {x : x > 1}
        bar = latex.split(inside[1], ("|", r"\mid", ":"))
        if len(bar) != 2 or not re.fullmatch(r"[a-zA-Z](\s?\\in\s?\\mathbb\s?\{?R\}?)?", bar[0][1]):
            return None
        return as_interval(bar[1][1])
    several = [part for part in _AND.split(text) if part]
    if len(several) > 1 and re.search(r"or", text) and not re.search(r"\band\b", text):
        found = [as_interval(part) for part in several]
        if all(found) and len({variable for variable, _ in found}) == 1:
            return found[0][0], r"\cup".join(part for _, part in found)
        return None
    member = latex.split(text, (r"\in",))
    if len(member) == 2 and re.fullmatch(r"[a-zA-Z](?:\([a-z]\))?", member[0][1]):
        return member[0][1], member[1][1]
    other = latex.split(text, (r"\ne",))
    if len(other) == 2 and re.fullmatch(r"[a-zA-Z]", other[0][1]):
        return other[0][1], rf"(-\infty,{other[1][1]})\cup({other[1][1]},\infty)"
    parts = latex.split(text, _RELATIONS)
    if len(parts) not in (2, 3) or any(not part for _, part in parts):
        return None
    if parts[1][0] in _TURNED:  # 5 > x is x < 5
        signs = [_TURNED.get(sign, "") for sign, _ in reversed(parts[1:])]
        sides = [side for _, side in reversed(parts)]
    else:
        signs, sides = [sign for sign, _ in parts[1:]], [side for _, side in parts]
    if any(sign not in ("<", r"\le") for sign in signs):
        return None
    variable = re.compile(r"\\?[a-zA-Z]{1,10}(?:_\{?\w\}?)?(?:\([a-z]\))?")
    where = [bool(variable.fullmatch(side)) and not side.startswith(r"\infty") and side != r"\pi" for side in sides]
    opening, closing = ("[" if signs[0] == r"\le" else "("), ("]" if signs[-1] == r"\le" else ")")
    if len(sides) == 3 and where[1]:
        return sides[1], f"{opening}{sides[0]},{sides[2]}{closing}"
    if len(sides) == 2 and where == [True, False]:
        return sides[0], rf"(-\infty,{sides[1]}{closing}"
    if len(sides) == 2 and where == [False, True]:
        return sides[1], rf"{opening}{sides[0]},\infty)"
    return None


def matrix(text: str) -> tuple[bool, list[list[str]]] | None:
    r"""Whether a matrix is written as a determinant, and its cells, row by row; None if the text is no matrix.

    >>> matrix(r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}")
    (False, [['1', '2'], ['3', '4']])
    """
    inside = latex.enclosed(text)
    match = _MATRIX.fullmatch(inside[1] if inside and inside[0] in "([" else text)
    if not match or "\\end" in (match[2] or match[4] or ""):
        return None
    body = (match[2] if match[2] is not None else match[4]).strip().removesuffix(r"\\").strip()
    rows = [[cell for _, cell in latex.split(row, ("&",))] for _, row in latex.split(body, (r"\\",))]
    return (match[1] or "") in ("v", "V"), rows


def _same_matrix(gold: str, pred: str, leaf: Leaf) -> bool | None:
    one, other = matrix(gold), matrix(pred)
    if not one or not other:
        return None
    if one[0] != other[0] or [len(row) for row in one[1]] != [len(row) for row in other[1]]:
        return False
    return all(leaf(a, b) for row, row2 in zip(one[1], other[1], strict=True) for a, b in zip(row, row2, strict=True))


def _same_tuple(gold: str, pred: str, leaf: Leaf) -> bool | None:
    """Whether two tuples or intervals are the same, brackets included; None if one of the two is neither."""
    one, other = latex.enclosed(gold), latex.enclosed(pred)
    if not one or not other or r"\{" in (one[0], other[0]):
        return None
    parts = [[part for _, part in latex.split(inside[1], (",", ";"))] for inside in (one, other)]
    if len(parts[0]) < 2 or len(parts[1]) < 2:
        return None
    brackets = [(inside[0].replace(r"\langle", "("), inside[2].replace(r"\rangle", ")")) for inside in (one, other)]
    return brackets[0] == brackets[1] and len(parts[0]) == len(parts[1]) and all(map(leaf, *parts))


def _same_union(gold: str, pred: str, leaf: Leaf) -> bool | None:
    parts = [[part for _, part in latex.split(text, (r"\cup",))] for text in (gold, pred)]
    if len(parts[0]) == len(parts[1]) == 1:
        return None
    if len(parts[0]) != len(parts[1]):
        return None  # math-verify knows that [0,1] and [1,2] together are [0,2]
    return same_items(*parts, leaf) or None


def _same_ranges(gold: str, pred: str, leaf: Leaf) -> bool | None:
    one, other = as_interval(gold), as_interval(pred)
    if not one and not other:
        return None
    if one and other and latex.squeezed(one[0]) != latex.squeezed(other[0]):
        return None
    return leaf(one[1] if one else gold, other[1] if other else pred) or None


def _exactly(text: str) -> str:
    r"""A value without a decimal that rounds it: ``1/3 \approx 0.33`` becomes 1/3; ``x \approx 11`` stays as it is."""
    first, *rest = [part for _, part in latex.split(text, (r"\approx",))]
    return first if rest and not re.fullmatch(r"[a-zA-Z]+", first) else text


def compare(gold: str, pred: str, leaf: Leaf) -> bool | None:
    """Whether two answers are the same, as far as their structure decides it.

    Args:
        gold: the right answer, as `latex.tidy` returns it.
        pred: the answer of a response, in the same form.
        leaf: compares two parts; it may call this function again with them.

    Returns:
        None if the structure decides nothing, for example if both are single formulas.
    """
    gold, pred = (
        _REALS.sub(lambda _: r"(-\infty,\infty)", text) if _REALS.fullmatch(text) else text for text in (gold, pred)
    )
    gold, pred = _exactly(gold), _exactly(pred)
    for method in (_same_matrix, _same_union, _same_tuple, _same_ranges):
        verdict = method(gold, pred, leaf)
        if verdict is not None:
            return verdict
    one, other = items(gold), items(pred)
    for values, text in ((one, pred), (other, gold)):
        inside = latex.enclosed(text)
        if inside and inside[0] == "(" and inside[2] == ")" and _in_order(values, items(inside[1])):
            return len(values) == len(items(inside[1])) and all(map(leaf, values, items(inside[1])))
    if len(one) > 1 or len(other) > 1 or (one, other) != ([gold], [pred]):
        # If the other side is a list, "100,200" may be one as well.
        if len(one) == 1 and len(other) > 1:
            one = _listed(one, gold)
        elif len(other) == 1 and len(one) > 1:
            other = _listed(other, pred)
        return same_items(one, other, leaf)
    named, other_named = equation(gold), equation(pred)
    if named and other_named:
        same = latex.squeezed(named[0]) == latex.squeezed(other_named[0])
        return leaf(named[1], other_named[1]) if same else None
    if named and not is_equation(pred):
        return leaf(named[1], pred)
    if other_named and not is_equation(gold):
        return leaf(gold, other_named[1])
    if is_equation(pred) and not is_equation(gold) and not re.search("[a-zA-Z]", pred.replace("\\frac", "")):
        *_, step, value = [part for _, part in latex.split(pred, ("=", r"\approx"))]
        return leaf(gold, value) and leaf(value, step)  # 6 * 7 = 42
    if is_equation(gold) != is_equation(pred):
        return False
    return None


def _listed(values: list[str], text: str) -> list[str]:
    return [part for _, part in latex.split(text, (",",))] if re.fullmatch(r"\d{1,3}(?:,\d{3})+", text) else values
