r"""Mathematical answers. Texts, plain numbers, units and lists are compared here, and formulas in a worker process.

Most answers of the benchmarks are integers, so most grades take microseconds and need no other process.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..data.boxes import all_answers
from . import latex, structure, units
from .extract import after_reasoning, core, final_answer
from .gold import mathematical, repeats
from .grade import Grade, verdict
from .numbers import in_base, in_words, number, same_number
from .pool import shared

#: Answers with more characters, or with more opening brackets, are compared as text only.
LONGEST, DEEPEST = 600, 25

#: Number of comparisons of formulas that one answer may take, and how many of them may fail or reach the time limit. A
#: list of 40 parts could otherwise ask for thousands.
CALLS, FAILURES = 100, 2
_budget = threading.local()


class _ExhaustedError(Exception):
    """The answer would take too long to compare."""


_FLATTEN = [
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
_WORDS = re.compile(r"[^\W\d_]{2,}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
# math-verify reads "1 2" as 3 and "1 1/2" as 1 (no upstream report is known).
_NUMBERS_SIDE_BY_SIDE = re.compile(r"(?<![_^\d.])\d[\d.]*\s+\d")
# "Janet makes $18 every day": one number in a sentence, for a ground truth that is a number.
_PROSE_AND_NUMBER = re.compile(r"(?P<words>(?:[A-Za-z'’]+,?\s+){2,20})(?P<number>[-$£€]{0,2}\d[^\n]*)")
_COMPARES = re.compile(
    r"\b(?:not|no|than|least|most|or|nor|without|minus|negative|half|double|twice|except|between|from|over|under|about)\b",
    re.IGNORECASE,
)
_OPTION = re.compile(r"\(?\s?([A-Za-z])\s?\)?")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")
# \textbf{(E)} 5, as competitions print their options, or "E. 5".
_OPTION_AND_VALUE = re.compile(
    r"(?:\\text\s?\{\s*\(?(?P<set>[A-F])[).]\s*\}|\(?(?P<plain>[A-F])[).](?=\s))"
    r"(?:\s*(?![-+*/^=<>_,;&|\s])|\s+(?=-\S))(?P<value>(?!.*(?:\\text|\b[A-F]\b|\b(?:and|or)\b)).+)",
    re.DOTALL,
)
_SEGMENT = re.compile(r"\\overline\s?\{\s?([A-Z]{2,})\s?\}")


def normalise(answer: str) -> str:
    r"""The answer as plain characters, without commands that only typeset it, and with words in lower case.

    >>> normalise(r"$\text{Yes.}$"), normalise("(C)"), normalise(r"\tfrac{1}{2}")
    ('yes', 'C', '\\frac{1}{2}')
    """
    for pattern, replacement in _FLATTEN:
        answer = pattern.sub(replacement, answer)
    answer = " ".join(answer.split()).strip().removesuffix(".").strip()
    letters = _OPTION.fullmatch(answer)  # (C) is C
    if letters:
        return letters[1]
    return answer.casefold() if re.fullmatch(r"[A-Za-z][A-Za-z' ]+", answer) else answer


def _plain(text: str) -> str:
    """A number without the text and the parentheses around it: (073) becomes 073."""
    text = latex.flat(text)
    inside = latex.enclosed(text)
    return inside[1] if inside and inside[0] == "(" and number(inside[1]) else text


def _in_words(text: str) -> str | None:
    r"""An answer in words, such as ``\text{even}`` or 4:30 p.m., for comparison; None for a formula."""
    plain = _SEGMENT.sub(r"\1", text)
    words = latex.flat(plain)
    if _CLOCK.fullmatch(words):
        return words
    if _COMMAND.search(words) or re.search(r"[\^_=<>+*|]", words):
        return None
    option = _OPTION.fullmatch(words)
    if option:
        return option[1] if "\\text" in text or option[1].isupper() else None
    if "\\text" not in text and not _WORDS.search(words):
        return None
    words = re.sub(r"\b([ap])\s?\.\s?m\b\.?", r"\1m", words.casefold())
    return " ".join(re.sub(r"^(?:the|an|a)\s|[\"“”.,;!?]+(?=\s|$)", " ", words).split())


@lru_cache(maxsize=1 << 14)
def equal(gold: str, pred: str) -> bool:
    r"""Whether ``pred`` is the same answer as ``gold``.

    Args:
        gold: the right answer, as LaTeX or plain text, without a box around it.
        pred: the answer of a response, in the same form.

    >>> equal("1/2", "0.5"), equal("5", r"5 \text{ apples}"), equal("(1,2)", "(2,1)")
    (True, True, False)
    """
    if not pred.strip():
        return False
    if gold.strip() == pred.strip():
        return True
    if len(pred) > LONGEST or pred.count("{") > DEEPEST or pred.count("(") > DEEPEST:
        return latex.squeezed(gold) == latex.squeezed(pred)
    _budget.calls, _budget.failures = CALLS, FAILURES
    try:
        return _same(latex.tidy(gold), latex.tidy(pred))
    except _ExhaustedError:
        return False


def _same(gold: str, pred: str) -> bool:
    if not gold or not pred:
        return False
    if latex.squeezed(gold) == latex.squeezed(pred):
        return True
    one, other = _plain(gold), _plain(pred)
    first, second = number(one), number(other)
    if first and second:
        return same_number(first, second) or _same_lists(one, other)
    based, other_based = in_base(gold), in_base(pred)
    if based or other_based:  # math-verify ignores the base, so that it takes 2516_8 and 2516_9 for equal
        return _same_in_base(based, other_based, one, other)
    (value, unit), (other_value, other_unit) = units.without(gold, formula=True), units.without(pred)
    if unit or other_unit or (value, other_value) != (gold, pred):
        values = number(_plain(value)), number(_plain(other_value))
        if all(values) or (unit and other_unit):
            return units.agree(unit, other_unit) and _same(value, other_value)
        if any(values) and not (structure.items(value)[1:] or structure.items(other_value)[1:]):
            return _same(value, other_value) if units.agree(unit, other_unit) else False
    decided = structure.compare(gold, pred, _same)
    if decided is not None:
        return decided
    if (value, other_value) != (gold, pred):
        return units.agree(unit, other_unit) and _same(value, other_value)
    words, other_words = _in_words(gold), _in_words(pred)
    if words is not None or other_words is not None:
        if words == other_words:
            return True
        # Two letters side by side may be a product. Words are not.
        if words is None or other_words is None or "\\text" in gold + pred or " " in words + other_words:
            return False
    return _same_formula(gold, pred)


def _same_lists(one: str, other: str) -> bool:
    """Whether two numbers are the same as lists: 100,200 and 200,100 are, and may be meant as such."""
    grouped = r"\d{1,3}(?:,\d{3})+"
    if not (re.fullmatch(grouped, one) and re.fullmatch(grouped, other)):
        return False
    return sorted(one.split(",")) == sorted(other.split(","))


def _same_in_base(gold: tuple[str, str] | None, pred: tuple[str, str] | None, gold_text: str, pred_text: str) -> bool:
    if gold and pred:
        return gold == pred
    return (gold[0] if gold else gold_text.upper()) == (pred[0] if pred else pred_text.upper())


def _same_formula(gold: str, pred: str) -> bool:
    for text in (gold, pred):
        if _NUMBERS_SIDE_BY_SIDE.search(text) or "\\text" in re.sub(r"_\s?\{\\text\s?\{[^{}]*\}\}", "", text):
            return False
    return _ask_worker(gold, pred)


@lru_cache(maxsize=1 << 14)
def _ask_worker(gold: str, pred: str) -> bool:
    if not _budget.calls or not _budget.failures:
        raise _ExhaustedError
    _budget.calls -= 1
    found = shared().run("math", gold, pred)
    _budget.failures -= found is None
    return bool(found)


def accepts(gold: str, pred: str) -> bool:
    """Whether an answer is right, either as it is or without the words around it.

    Args:
        gold: the right answer.
        pred: as `extract.final_answer` gives it.

    >>> accepts("42", "The value is 42, which is 6 times 7"), accepts("42", "not 42")
    (True, False)
    """
    if equal(gold, pred) or (core(pred) != pred and equal(gold, core(pred))):
        return True
    option = _OPTION_AND_VALUE.fullmatch(latex.tidy(pred))
    if option:
        return equal(gold, option["set"] or option["plain"]) or equal(gold, option["value"])
    return bool(number(latex.tidy(gold))) and any(equal(gold, part) for part in _number_in_prose(pred))


def _number_in_prose(text: str) -> list[str]:
    """The only number of a sentence with what follows it, or nothing if the words before it may change its value.

    The number may be written in digits or in words.
    """
    match = _PROSE_AND_NUMBER.fullmatch(text)
    if match:
        return [] if _COMPARES.search(match["words"]) else [match["number"]]
    words = text.split()
    if not 2 < len(words) < 24 or any(character.isdigit() for character in text):
        return []
    first = next((i for i, word in enumerate(words) if word.casefold() != "a" and in_words(word) is not None), 0)
    return [" ".join(words[first:])] if first and not _COMPARES.search(" ".join(words[:first])) else []


def grade(response: str, golds: tuple[str, ...], extra: Mapping[str, Any]) -> Grade:
    """Grade the final answer of a response. It is right if it is one of ``golds``, or several of them.

    Args:
        response: the decoded response.
        golds: the answers, each of which is right.
        extra: not read.
    """
    pred = final_answer(response)
    right = any(accepts(mathematical(gold), pred) for gold in golds)
    if not right and len(golds) == 1 and len(structure.items(latex.tidy(golds[0]))) > 1:
        # Several values, each in a box of its own with words between them: they have to be exactly the right ones.
        boxed = all_answers(after_reasoning(response))
        if boxed and equal(mathematical(golds[0]), boxed):
            return verdict(True, boxed)
    if not right and len(golds) > 1:
        parts = structure.items(latex.tidy(pred))
        right = len(parts) > 1 and all(any(equal(mathematical(gold), part) for gold in golds) for part in parts)
        right = right or repeats(golds, pred)
    return verdict(right, pred)
