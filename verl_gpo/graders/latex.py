r"""LaTeX and plain text rewritten into one form, and split at commas and other signs that no bracket encloses.

All functions after `tidy` expect text that `tidy` has returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TEXT = r"\\(?:text(?:bf|it|rm|sf|tt|sc|normal|up)?|[mh]box|emph|operatorname\*?)"
_ASCII = {ord(a): chr(ord(a) - 0xFEE0) for a in map(chr, range(0xFF01, 0xFF5F))}
_SIGNS = str.maketrans(
    {
        **{"−": "-", "–": "-", "×": r"\times ", "÷": "/", "·": r"\cdot ", "π": r"\pi ", "∞": r"\infty ", "∪": r"\cup "},
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "±": r"\pm ", "θ": r"\theta "},
        **{"²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "′": "'", "’": "'"},
        **{"\u00a0": " ", "\u2009": " ", "\u202f": " "},
    }
)
_TIDY = [
    (re.compile(r"\\(?:left|right)\s?\.|\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:text)?color\s?\{[^{}]*\}|\\underline(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:bf|it|rm|tt|large|Large|LARGE|small|normalsize|bfseries)(?![a-zA-Z{])"), " "),
    (re.compile(r"\\varnothing(?![a-zA-Z])"), r"\\emptyset "),
    (re.compile(r"\{,\}\s?|,\s?\\!\s?"), ","),
    (re.compile(r"(?<!\\)\\[!,;:> ]|\\q?quad(?![a-zA-Z])|~|(?<!\\)\\(?=\s)"), " "),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(rf"{_TEXT}\s?(?=\{{)"), r"\\text"),
    (re.compile(r"\\(?:math(?:bf|it|sf|cal|tt)|boldsymbol|bm|bf|it|rm)\s?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\mathrm\s?\{\s?([eidx])\s?\}"), r" \1 "),
    (re.compile(r"\\mathrm\s?(?=\{)"), r"\\text"),
    (re.compile(r"\\\$|\$|(?<!\\)\\[()\[\]]"), ""),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\(?:leqslant|leq|le)(?![a-zA-Z])|<=|=<"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq|ge)(?![a-zA-Z])|>="), r"\\ge "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\(?:neq|ne)(?![a-zA-Z])|!="), r"\\ne "),
    (re.compile(r"(?<!\\)\\lbrace(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"(?<!\\)\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\[lr](?=[vV]ert)"), r"\\"),
    (re.compile(r"\\[vV]ert(?![a-zA-Z])"), "|"),
    (re.compile(r"√\s?(\w+)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\bnp\.(?=[a-z])"), ""),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![\\a-zA-Z{])(pi|sqrt|infty|arcsin|arccos|arctan|sin|cos|tan|ln|log|exp)(?![a-zA-Z])"), r"\\\1"),
    (re.compile(r"(?<![\\a-zA-Z])inf(?:inity)?(?![a-zA-Z])"), r"\\infty"),
    (re.compile(r"\\sqrt\s?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\^\s?\(([^()]*)\)"), r"^{\1}"),
    (re.compile(r"\\frac\s?(\w)\s?(\w)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s?(\w)\s?\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s?\{[^{}]*\})\s?(\w)"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s?(\w)"), r"\\sqrt{\1}"),
    (re.compile(r"(\d)\.(?=/)"), r"\1"),
]
_DEGREE = re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![a-zA-Z])|°")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_INSIDE_TEXT = re.compile(r"\\text\s?\{([^{}]*)\}")
_OPENING, _CLOSING = "([{", ")]}"
_TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.)|.", re.DOTALL)


def tidy(answer: str) -> str:
    r"""The answer without commands that only typeset it. Words are kept apart from formulas as ``\text{...}``.

    >>> tidy(r"$\left( \tfrac12,\; 11{,}000 \right)$"), tidy(r"25\mbox{ cm}^2")
    ('( \\frac{1}{2}, 11,000 )', '25\\text{ cm}^2')
    """
    answer = answer.translate(_ASCII).translate(_SIGNS)
    for pattern, replacement in _TIDY:
        answer = pattern.sub(replacement, answer)
    # The degree sign changes the value of \sin 30^\circ. In an angle of 30^\circ it is a unit, which the question
    # names.
    answer = _DEGREE.sub(r"^{\\circ}" if _TRIGONOMETRIC.search(answer) else " ", answer)
    answer = _unnested(answer)
    answer = re.sub(r"(?<!\\)(?:\\\\)*\\?$", "", " ".join(answer.split()).rstrip(".,; ")).strip()
    for _ in range(4):
        if not answer.startswith("{") or _closing(answer, 0) != len(answer) - 1:
            break
        answer = answer[1:-1].strip()
    return answer


def _unnested(answer: str) -> str:
    r"""``\text{\text{a}}`` and ``\text{(\text{C})}`` as one text, and an empty text as a space."""
    for _ in range(3):
        flat = re.sub(r"\\text\s?\{([^{}]*)\\text\s?\{([^{}]*)\}([^{}]*)\}", r"\\text{\1\2\3}", answer)
        if flat == answer:
            break
        answer = flat
    return re.sub(r"\\text\s?\{\s*\}", " ", answer)


def flat(text: str) -> str:
    r"""Words and formulas as plain characters: ``5 \text{ cm}`` becomes ``5 cm``."""
    return " ".join(_INSIDE_TEXT.sub(r" \1 ", text).split())


def squeezed(text: str) -> str:
    """The text without spaces, except between two digits: 1 2 is not 12.

    >>> squeezed("x = 1 2 + y")
    'x=1 2+y'
    """
    return re.sub(r"(?<!\d) | (?!\d)", "", flat(text))


def _closing(text: str, opening: int) -> int:
    depth = 0
    for match in _TOKEN.finditer(text, opening):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.start()
    return -1


def tokens(text: str) -> Iterator[tuple[int, str, int]]:
    """The tokens of a text: position, token, and the number of brackets around it.

    A token is a LaTeX command or one character. ``\\begin`` and ``\\end`` count as brackets too. A bracket may be
    closed by one of another kind, since [0,1) is an interval.
    """
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in (")", "]", "}", r"\}", r"\rangle", r"\end"):
            depth = max(depth - 1, 0)
        yield match.start(), token, depth
        if token in ("(", "[", "{", r"\{", r"\langle", r"\begin"):
            depth += 1


def split(text: str, separators: tuple[str, ...]) -> list[tuple[str, str]]:
    """The parts of a text between separators that no bracket encloses, each with the separator before it.

    >>> split("(1,2),3", (",",))
    [('', '(1,2)'), (',', '3')]
    """
    parts: list[tuple[str, str]] = []
    start, before = 0, ""
    for position, token, depth in tokens(text):
        if depth == 0 and token in separators:
            parts.append((before, text[start:position].strip()))
            start, before = position + len(token), token
    return [*parts, (before, text[start:].strip())]


def enclosed(text: str) -> tuple[str, str, str] | None:
    r"""Opening bracket, content and closing bracket of a text that one pair of brackets encloses; otherwise None.

    Braces count only if they are escaped: ``\{1,2\}`` is a set, and ``{1,2}`` is grouping.

    >>> enclosed("[0,1)"), enclosed("(a)(b)"), enclosed(r"\{1,2\}")
    (('[', '0,1', ')'), None, ('\\{', '1,2', '\\}'))
    """
    first = last = ""
    end = 0
    for position, token, depth in tokens(text):
        if position == 0:
            first = token
            if token not in ("(", "[", r"\{", r"\langle"):
                return None
        elif depth == 0:
            if end:
                return None
            last, end = token, position
    if not end or end + len(last) != len(text) or last not in (")", "]", r"\}", r"\rangle"):
        return None
    return first, text[len(first) : end].strip(), last
