"""The splitters: they cut a response into steps by its text, by token count, or by the probability of its tokens.

All are :class:`~verl_gpo.core.types.Splitter`, lossless by construction. A splitter by text finds boundaries in the
decoded response; :mod:`~verl_gpo.core.segment.token_text` maps them to positions between tokens.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from .token_text import Decode, TokenText, step_ends

_LINE_END = re.compile(r"(?<=\S)[^\S\n]*\n")
_PARAGRAPH_END = re.compile(r"(?<=\S)[^\S\n]*\n[^\S\n]*\n")


class TextSplitter:
    """Base of the splitters by text. A subclass says at which positions in the text steps end, in order.

    Args:
        decode: text of a list of token ids, special tokens kept.
    """

    take_space = True  # see step_ends

    def __init__(self, decode: Decode):
        self._token_text = TokenText(decode)

    def __call__(self, token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        text, ends = self._token_text.spans(token_ids)
        return step_ends(text, ends, self.boundaries(text), self.take_space)

    def boundaries(self, text: str) -> Iterator[int]:
        raise NotImplementedError


class NewlineSplitter(TextSplitter):
    """Steps are lines: a step ends with the last of the line breaks that follow it.

    A token that contains a line break is the last of its step, even if text follows the break within the same token,
    because a token cannot be cut. Blank lines belong to the line before them.
    """

    def boundaries(self, text: str) -> Iterator[int]:
        return (match.end() for match in _LINE_END.finditer(text))


class ParagraphSplitter(TextSplitter):
    """Steps are paragraphs: a step ends with two or more line breaks, with or without spaces between them."""

    def boundaries(self, text: str) -> Iterator[int]:
        return (match.end() for match in _PARAGRAPH_END.finditer(text))


class CodeSplitter(TextSplitter):
    """Steps are lines, and whole fenced code blocks. A block that is not closed goes to the end of the response."""

    _OPENING = re.compile(r"^[ \t]*(`{3,}(?=[^`\n]*$)|~{3,})", re.MULTILINE)

    def boundaries(self, text: str) -> Iterator[int]:
        blocks = list(self._blocks(text))
        starts = [start for start, _ in blocks]
        for match in _LINE_END.finditer(text):
            boundary = match.end()
            block = bisect_left(starts, boundary) - 1  # the last block that starts before the boundary
            if block < 0 or boundary > blocks[block][1]:
                yield boundary

    def _blocks(self, text: str) -> Iterator[tuple[int, int]]:
        """First and last position of each block: its opening fence, and the end of the line of its closing one."""
        position = 0
        while opening := self._OPENING.search(text, position):
            fence = opening[1]
            closing = re.compile(rf"^[ \t]*{fence[0]}{{{len(fence)},}}[ \t\r]*$", re.MULTILINE)
            closed = closing.search(text, opening.end())
            position = closed.end() if closed else len(text)
            yield opening.start(1), position


class SentenceSplitter(TextSplitter):
    """Steps are sentences: they end at ``. ! ?`` before white space, at ``。！？``, and at line breaks.

    Closing quotes, brackets and Markdown emphasis belong to the sentence that they close. A single full stop does not
    end a sentence after an abbreviation, an initial, or a list marker at the start of a line or sentence. The mark of a
    factorial does not end a sentence if the formula or the sentence goes on (``5! + 3``, ``n! ways``), nor does an
    ellipsis within a sum, a product or a list (``1 + 2 + ... + n``).
    """

    _MARK = re.compile(r"(?P<mark>\.(?:[^\S\n]\.){2,}|[.!?。！？]+)['\"’”»)\]}」』】）》〉*_$`]*\s*|\s+")
    _WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:\.[^\W\d_]+)*$")
    _DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # e.g, i.e, U.S
    _LIST_MARKER = re.compile(r"[\s*_#>(\[\"'“-]*(?:\d+(?:\.\d+)*|[^\W\d_])")
    _ABBREVIATION = re.compile(
        r"al|approx|ca|cf|chap?|cor|def|dept|dr|eqn?s?|est|figs?|mrs?|ms|nos|ph\.d|pp|prof|prop|refs?|resp|secs?|st|tab"
        r"|thm|viz|vols?|vs",
        re.IGNORECASE,
    )
    _NUMBERED = re.compile(r"no|nr", re.IGNORECASE)  # before a number
    _CLOSING = re.compile(r"co|corp|etc|inc|jr|ltd|sr", re.IGNORECASE)  # before a capital they do end a sentence
    _LONGEST = 12  # longer than any abbreviation, list marker or LaTeX command that is looked for
    # A star before a letter or another star is Markdown emphasis.
    _OPERATOR = re.compile(r"\$?(?:[-+−–/·=<>≤≥≠≈≡∼~±∓×÷⋅∈∣|^%,;:)\]}]|\*(?![*\w])|\\[A-Za-z])")
    _AFTER_OPERATOR = re.compile(r"(?:[-+−–*/·=<>≤≥≠≈≡~±∓×÷⋅,;:]|\\[A-Za-z]+)[\s${}]*$")
    _AFTER_RELATION = re.compile(r"[+−*=<>≤≥≠≈∈×÷⋅]\s*\$?$")  # a capital after it is a variable, not an initial
    _OPERAND_BEFORE = re.compile(r"(?:[\d)\]}|$]|(?<![^\W\d_])[^\W\d_])$")
    # Without the words "a" and "I", which often begin a sentence.
    _OPERAND = re.compile(r"[($]*(?:\d|(?![aAI])[^\W\d_](?![^\W\d_]))")

    def boundaries(self, text: str) -> Iterator[int]:
        start = 0  # of the sentence
        for match in self._MARK.finditer(text):
            mark, following = match["mark"], match.end()
            boundary = match.start() + len(match[0].rstrip())
            if mark is None:  # white space
                boundary += match[0].find("\n") + 1
                ends = "\n" in match[0] and match.start() > 0
            elif "\n" in match[0] or not mark.isascii():
                ends = True
            else:
                ends = following > boundary and not self._inside(text, start, match, following)
            if ends:
                start = following
                yield boundary

    def _inside(self, text: str, start: int, match: re.Match[str], following: int) -> bool:
        """Whether the sentence goes on after a mark that stands before white space."""
        mark, stop = match["mark"], match.start()
        if mark == ".":
            return self._inner(text, start, stop, following)
        if not mark.strip("!"):
            return self._factorial(text, stop, following)
        return not mark.strip(". \t") and self._ellipsis(text, stop, following)

    def _factorial(self, text: str, stop: int, following: int) -> bool:
        """Whether the mark at ``stop`` is a factorial, and the formula or the sentence goes on after it."""
        if not self._OPERAND_BEFORE.search(text[max(0, stop - 2) : stop]):
            return False
        goes_on = text[following : following + 2].lstrip("($")[:1]
        return bool(self._OPERATOR.match(text, following)) or goes_on.islower()

    def _ellipsis(self, text: str, stop: int, following: int) -> bool:
        """Whether the dots at ``stop`` replace terms of a sum, a product or a list that goes on after them."""
        if self._OPERATOR.match(text, following):
            return True
        before = text[max(0, stop - self._LONGEST) : stop].rstrip()
        if self._AFTER_OPERATOR.search(before):
            return bool(self._OPERAND.match(text, following)) or text[following : following + 1].islower()
        return bool(self._OPERAND_BEFORE.search(before)) and bool(self._OPERAND.match(text, following))

    def _inner(self, text: str, start: int, stop: int, following: int) -> bool:
        """Whether the full stop at ``stop`` belongs to the word before it, in the sentence that began at ``start``."""
        if stop - start <= self._LONGEST and self._LIST_MARKER.fullmatch(text, start, stop):
            return True
        before = text[max(start, stop - self._LONGEST) : stop]
        word = self._WORD.search(before)
        if word is None:
            return False
        if len(word[0]) == 1:
            return word[0].isupper() and not self._AFTER_RELATION.search(before[: word.start()])
        if self._NUMBERED.fullmatch(word[0]):
            return text[following : following + 1].isdigit()
        if self._CLOSING.fullmatch(word[0]):
            return not text[following : following + 1].isupper()
        return any(inner.fullmatch(word[0]) for inner in (self._ABBREVIATION, self._DOTTED))


class RegexSplitter(TextSplitter):
    """A step ends at the end of each match; empty matches are ignored.

    Raises:
        ValueError: the pattern does not compile.
    """

    take_space = False  # the pattern alone decides where a step ends

    def __init__(self, decode: Decode, pattern: str):
        super().__init__(decode)
        try:
            self._pattern = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{pattern!r} is not a valid regular expression: {error}") from error

    def boundaries(self, text: str) -> Iterator[int]:
        return (match.end() for match in self._pattern.finditer(text) if match[0])


class TurnSplitter:
    """A turn of the policy is one step. A response with an environment is split turn by turn, with any splitter."""

    def __call__(self, token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        return [len(token_ids)] if token_ids else []


class TokensSplitter:
    """Steps of ``count`` tokens each; the last step has the rest."""

    def __init__(self, count: int):
        if count < 1:
            raise ValueError(f"{count} tokens are no step")
        self._count = count

    def __call__(self, token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        total = len(token_ids)
        return [*range(self._count, total, self._count), total] if total else []


class LowProbSplitter:
    """A step begins at each token whose probability is below ``threshold``: the cut points of SPO (arXiv 2505.23564).

    The boundary is before the token of which the policy was not sure, so that a rollout from there samples this token
    again. SPO begins a step at the first such token and at every fifth one after it (``every=5``).
    """

    def __init__(self, threshold: float, every: int = 1):
        if not 0 < threshold < 1:
            raise ValueError(f"{threshold:g} is no threshold on probabilities")
        if every < 1:
            raise ValueError(f"{every} cut points are no step")
        self._log_threshold, self._every = math.log(threshold), every

    def __call__(self, token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        """Return the exclusive ends of the steps.

        Raises:
            ValueError: log-probs are missing, or their number is not that of the tokens.
        """
        total = len(token_ids)
        if log_probs is None or len(log_probs) != total:
            given = "none" if log_probs is None else len(log_probs)
            raise ValueError(f"low_prob needs the log-prob of each of the {total} tokens; it got {given}")
        cuts = [i for i in range(total) if log_probs[i] < self._log_threshold][:: self._every]
        return [*(i for i in cuts if i), total] if total else []


class LineTokensSplitter:
    """A step ends with a token that is one or two line breaks, alone or after a full stop: GPO's authors' own steps.

    As in their code, a step has at least ``min_step_tokens`` tokens before its last one, except that the last line
    break of the response always ends a step, however short. What follows it is the last step, as short as it may be.
    Of a response with more than ``max_steps`` steps, the rest is one step.

    Args:
        decode: text of a list of token ids, special tokens kept.
        min_step_tokens: see above.
        max_steps: see above; 0 for no bound.
    """

    TOKENS = ("\n", "\n\n", ".\n", ".\n\n")

    def __init__(self, decode: Decode, min_step_tokens: int = 1, max_steps: int = 0):
        self._decode, self._min, self._max = decode, min_step_tokens, max_steps
        self._ends: dict[int, bool] = {}

    def _ends_step(self, token: int) -> bool:
        if token not in self._ends:
            self._ends[token] = self._decode([token]) in self.TOKENS
        return self._ends[token]

    def __call__(self, token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        breaks = [at for at, token in enumerate(token_ids) if self._ends_step(token)]
        ends: list[int] = []
        start = 0
        for number, at in enumerate(breaks):
            if self._max and len(ends) >= self._max - 1:
                break
            if at - start < self._min and number < len(breaks) - 1:
                continue
            start = at + 1
            ends.append(start)
        return [*ends, len(token_ids)] if start < len(token_ids) else ends
