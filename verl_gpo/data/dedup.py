"""Which questions are the same, and which of them are kept in a training set."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from .registry import Example

_COMMANDS = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|qquad|quad|text(?:bf|it|rm)?|mathrm|mbox)(?![a-zA-Z])"
)
_FRACTIONS = re.compile(r"\\[dtc]frac")
_THIN = re.compile(r"\\[!,;:> ]")
# What is kept: letters, digits, signs that have a meaning, and a point between digits. Commas may separate thousands.
_NOISE = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.+*/^=<>|!%-]|_")


def normalise(question: str) -> str:
    """The question without case, spaces, punctuation and commands that only typeset its formulas."""
    text = unicodedata.normalize("NFKC", question).casefold()
    text = _THIN.sub("", _FRACTIONS.sub(r"\\frac", _COMMANDS.sub("", text)))
    return _NOISE.sub("", "".join(text.split()))


def key(question: str) -> bytes:
    """A hash of the normalised question, 16 bytes. The texts of 1.8 million rows would need much more memory."""
    return hashlib.blake2b(normalise(question).encode(), digest_size=16).digest()


class Filter:
    """Collects the rows of a training set, without repeated questions and questions of evaluation sets.

    Args:
        holdouts: name of each evaluation set to the keys of its questions.
    """

    def __init__(self, holdouts: dict[str, set[bytes]]):
        self.holdouts = holdouts
        self.kept: dict[bytes, tuple[int, Example]] = {}
        self.duplicates = 0
        self.contaminated = dict.fromkeys(holdouts, 0)
        self._conflicting: set[bytes] = set()
        # Exact copies are found by their text, which is faster than normalising each of them.
        self._seen: dict[str, bytes] = {}

    def add(self, index: int, example: Example) -> None:
        """Add one row.

        Args:
            index: number of the row in the published split.
            example: its content.
        """
        found = self._seen.get(example.question)
        if found is None:
            found = self._seen.setdefault(example.question, key(example.question))
        if found in self.kept:
            self.duplicates += 1
            if self.kept[found][1].answer != example.answer:
                self._conflicting.add(found)
            return
        self.kept[found] = (index, example)

    def result(self) -> list[tuple[int, Example]]:
        """The rows that are kept, in order, each with its index. Call it before `report`."""
        rows = []
        for found, row in self.kept.items():
            held = [name for name, keys in self.holdouts.items() if found in keys]
            for name in held:
                self.contaminated[name] += 1
            # If one question has two answers, one of them is wrong, and it is not known which.
            if not held and found not in self._conflicting:
                rows.append(row)
        return rows

    def report(self) -> dict[str, int | dict[str, int]]:
        """Number of rows left out: repeated ones, and, for each evaluation set, those that it holds.

        ``conflicting`` is the number of questions that have two different answers.
        """
        conflicting = len(self._conflicting)
        return {"duplicates": self.duplicates, "conflicting": conflicting, "held_out": self.contaminated}


def keys(examples: Iterable[Example]) -> set[bytes]:
    """The keys of the examples' questions."""
    return {key(example.question) for example in examples}
