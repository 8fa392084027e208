"""BIG-Bench Hard: 27 tasks, five forms of answer (``verl_gpo.data.registry.BBH_TASKS``).

The task decides the form. In two of the tasks that ask for a letter, three published answers are the text of an option
instead; such a row is compared as text. If the task is not known, the ground truth decides the form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..data.registry import BBH_TASKS
from . import choice, math
from .extract import core, final_answer, last_line
from .gold import option
from .grade import Grade, verdict

_OPTION = re.compile(r"^\(([A-Z])\)\s?(.*)$", re.MULTILINE)
_BRACKETS = "()[]{}<>"


_CLOSED = re.compile(r"(?:is )?(?:deductively )?(yes|no|true|false|valid|invalid)\b")


def form_of(task: str, gold: str) -> str:
    """The form of an answer: ``word``, ``letter``, ``number``, ``list``, ``brackets`` or ``text``.

    Args:
        task: name of the task; an unknown one, or "", leaves the decision to ``gold``.
        gold: the ground truth.

    >>> form_of("navigate", "No"), form_of("snarks", "(A)"), form_of("", "7"), form_of("", "ash bee cat")
    ('word', 'letter', 'number', 'list')
    """
    gold = gold.strip()
    is_letter = re.fullmatch(r"\([A-Z]\)", gold)
    if task in BBH_TASKS:
        return "text" if BBH_TASKS[task] == "letter" and not is_letter else BBH_TASKS[task]
    if is_letter:
        return "letter"
    if gold.casefold() in ("yes", "no", "true", "false", "valid", "invalid"):
        return "word"
    if re.fullmatch(r"-?\d+", gold):
        return "number"
    return "brackets" if gold and not set(gold) - set(_BRACKETS + " ") else "list"


def _options(question: str) -> list[str]:
    """The texts of a question's options, if they are lettered (A), (B), ... in order; otherwise none."""
    found = _OPTION.findall(question)
    return (
        [text for _, text in found] if [name for name, _ in found] == [chr(65 + i) for i in range(len(found))] else []
    )


def _letter(answer: str, gold: str, question: str) -> tuple[bool, str]:
    options = _options(question)
    pred = choice.letter(answer, options) or choice.letter(core(answer), options)
    return pred == option(gold), f"({pred})" if pred else ""


def _plain(answer: str) -> str:
    return math.normalise(answer).strip("'\"()[]{} ").casefold()


def _word(answer: str, gold: str, question: str) -> tuple[bool, str]:
    # "Yes, she does" says yes; "not valid" says nothing.
    match = _CLOSED.match(_plain(answer)) or _CLOSED.match(_plain(core(answer)))
    match = match or _CLOSED.fullmatch(_plain(answer.rpartition("=")[2]))  # "not False = True"
    pred = match[1] if match else ""
    return pred == gold.strip().casefold(), pred


def _number(answer: str, gold: str, question: str) -> tuple[bool, str]:
    return math.accepts(gold.strip(), answer), answer


def _words(text: str) -> list[str]:
    plain = math.normalise(re.sub(r"(?:^|(?<=\s))(?:\(?\d{1,2}[.)]|\(?[a-z]\)|[-*•&])\s", " ", text)).casefold()
    words = (word.strip("'\"[](){}.*`") for word in re.split(r"(?:[\s,;|/]|->|=>|→|<|>)+", plain))
    return [word for word in words if word]


def _list(answer: str, gold: str, question: str) -> tuple[bool, str]:
    pred, words = _words(answer.rpartition(":")[2]), _words(gold)  # "The sorted words are: ..."
    if "and" not in words:  # "ash, bee and cat"
        pred = [word for word in pred if word != "and"]
    return pred == words, " ".join(pred)


def _only_brackets(text: str) -> str:
    return "".join(character for character in text if character in _BRACKETS)


def _brackets(answer: str, gold: str, question: str) -> tuple[bool, str]:
    # \[ and \{ are LaTeX for the brackets themselves.
    pred = _only_brackets(re.sub(r"\\(?:[lr]angle)", lambda m: "<" if "l" in m[0][:2] else ">", answer))
    given = _only_brackets(question.rpartition("Input:")[2])
    alone = not re.search(r"[A-Za-z0-9]", re.sub(r"\\[a-z]+", "", answer))
    closing = _only_brackets(gold)
    # The whole sequence, closed, says the same.
    return alone and pred in (closing, given + closing), " ".join(pred) if alone else ""


def _text(answer: str, gold: str, question: str) -> tuple[bool, str]:
    pred = choice.normalise(answer)
    return bool(pred) and pred == choice.normalise(gold), answer


_FORMS: dict[str, Callable[[str, str, str], tuple[bool, str]]] = {
    "letter": _letter,
    "word": _word,
    "number": _number,
    "list": _list,
    "brackets": _brackets,
    "text": _text,
}


def grade(response: str, golds: tuple[str, ...], extra: Mapping[str, Any]) -> Grade:
    """Grade a response to one of the tasks.

    Args:
        response: the decoded response.
        golds: the answers, each of which is right.
        extra: the row's ``extra_info``; ``task`` and ``question`` are read.
    """
    answer = final_answer(response) or last_line(response)
    task, question = str(extra.get("task") or ""), str(extra.get("question") or "")
    graded = [_FORMS[form_of(task, gold)](answer, gold, question) for gold in golds]
    return verdict(*max(graded, key=lambda verdict: verdict[0]))
