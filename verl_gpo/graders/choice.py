"""Multiple choice: which option a response chooses, as a letter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .extract import core, final_answer, last_line
from .gold import option
from .grade import Grade, verdict

_WRAP = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it|sf|tt)|[mh]box|boldsymbol|bf)\s?\{([^{}]*)\}")
_DELIMITERS = re.compile(r"\\[()\[\],;!]|[$*`_]|\\(?:left|right|quad)(?![a-zA-Z])|(?<=^)\{|\}(?=$)")
_LEAD = re.compile(
    r"^(?:(?:is|the|it|so)\s){0,2}(?:(?:correct|right|best|final)\s)?(?:option|choice|answer|letter)"
    r"(?:\s(?:is|would be))?[:：]?\s{1,3}",
    re.IGNORECASE,
)
# A letter alone, or followed by what shows that it is no word: "(b) text", "B. text", "B: text", "B because".
_LETTER = re.compile(
    r"[(\[]\s?([A-Za-z])\s?[.)\]]+(?!\s?(?:and\b(?! not)|or\b|&|/|\+))"
    r"|([A-Za-z])(?:$|[.):]?(?=[.):,;](?:\s|$))[.):]?|\s(?:because|since|as\s(?:it|this|the)|is)\b|\s[-–—(]\s?)"
)
_SEVERAL = re.compile(r"(?:,|;|\band\b|\bor\b|&|/)+\s?(?:and\s|or\s)?[(\[]?\s?[A-Z](?![\w'])")


def normalise(text: str) -> str:
    """Words only, in lower case, to compare the text of an option."""
    return re.sub(r"[\W_]+", " ", text).strip().casefold()


def letter(answer: str, choices: list[str] | tuple[str, ...] = ()) -> str:
    """The letter that an extracted answer names, in upper case; "" if it names none, or several.

    Args:
        answer: as `extract.final_answer` gives it.
        choices: the options' texts; an answer that is the text of exactly one of them counts as its letter.

    >>> letter("(b) because it floats"), letter("A or B"), letter("iron", ["gold", "iron"])
    ('B', '', 'B')
    """
    for _ in range(2):
        answer = _WRAP.sub(r"\1", answer)
    answer = _DELIMITERS.sub("", answer).strip().rstrip(".")
    same = [i for i, text in enumerate(choices) if normalise(text) and normalise(text) == normalise(answer)]
    shorter = _LEAD.sub("", answer)
    match = _LETTER.match(shorter)
    if match and not _SEVERAL.match(shorter[match.end() :].lstrip()):
        found = (match[1] or match[2]).upper()
        rest = shorter[match.end() :]
        # "(a) cat" names an option, "a cat" does not: without a parenthesis, a lower-case letter has to stand alone.
        if (match[1] or match[2].isupper() or not rest.strip()) and (not choices or ord(found) - 65 < len(choices)):
            return found
    return chr(65 + same[0]) if len(same) == 1 else ""


def read(response: str, choices: list[str] | tuple[str, ...] = ()) -> str:
    """The letter that a response chooses: that of its final answer, or of its last line if it states no answer."""
    answer = final_answer(response) or last_line(response)
    return letter(answer, choices) or letter(core(answer), choices)


def grade(response: str, golds: tuple[str, ...], extra: Mapping[str, Any]) -> Grade:
    """Grade the option that a response names.

    Args:
        response: the decoded response.
        golds: the options, each of which is right: a letter or the option's text.
        extra: the row's ``extra_info``; ``metadata["choices"]`` has the options' texts, if they are known.
    """
    choices = extra["metadata"].get("choices") or ()
    pred = read(response, choices)
    return verdict(pred in [option(gold, choices) for gold in golds], pred)
