"""Cuts response tokens into steps.

A step boundary is a position between two token ids, never a position in the text: decoding a prefix and tokenizing it
again may give other tokens than the policy produced. So every splitter returns token positions, and the steps together
are exactly the tokens of the response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...config.splitters import SPLITTERS as OPTIONS
from ...config.splitters import check_option, threshold_and_cuts
from ..types import Splitter
from .splitters import (
    CodeSplitter,
    LineTokensSplitter,
    LowProbSplitter,
    NewlineSplitter,
    ParagraphSplitter,
    RegexSplitter,
    SentenceSplitter,
    TokensSplitter,
    TurnSplitter,
)
from .token_text import Decode

if TYPE_CHECKING:
    from ...config import GPOConfig


@dataclass(frozen=True)
class SplitterChoice:
    """A row of :data:`SPLITTERS`.

    Attributes:
        help: where steps end, in one line.
        build: the splitter, given ``decode`` and the option.
        bounded: the same for a splitter with bounds of its own, given ``decode``, ``min_step_tokens``, ``max_steps``.
    """

    help: str
    build: Callable[[Decode, str], Splitter]
    bounded: Callable[[Decode, int, int], Splitter] | None = None


#: name -> splitter. To add one, add its row, and its name and option to :mod:`verl_gpo.config.splitters`.
SPLITTERS: dict[str, SplitterChoice] = {
    "newline": SplitterChoice("line breaks", lambda decode, _: NewlineSplitter(decode)),
    "paragraph": SplitterChoice("blank lines", lambda decode, _: ParagraphSplitter(decode)),
    "sentence": SplitterChoice("the ends of sentences, and line breaks", lambda decode, _: SentenceSplitter(decode)),
    "code": SplitterChoice("line breaks; a fenced code block is one step", lambda decode, _: CodeSplitter(decode)),
    "turn": SplitterChoice(
        "the ends of the policy's turns; a response without tools is one step", lambda *_: TurnSplitter()
    ),
    "tokens": SplitterChoice("a fixed number of tokens", lambda _, count: TokensSplitter(int(count))),
    "regex": SplitterChoice("the end of each match of a pattern", RegexSplitter),
    "low_prob": SplitterChoice(
        "tokens less probable than a threshold, which begin a step",
        lambda _, option: LowProbSplitter(*threshold_and_cuts(option)),
    ),
    "line_tokens": SplitterChoice(
        "tokens that are one or two line breaks, alone or after a full stop",
        lambda decode, _: LineTokensSplitter(decode),
        LineTokensSplitter,
    ),
}


def splitter_table() -> str:
    """The splitters as a Markdown table, for the documentation."""
    lines = ["| `splitter` | steps end at | `splitter_option` |", "|---|---|---|"]
    options = {name: option.text if option else "" for name, option in OPTIONS.items()}
    return "\n".join(lines + [f"| `{name}` | {row.help} | {options[name]} |" for name, row in SPLITTERS.items()])


def build_splitter(
    name: str, option: str | None, decode: Decode, min_step_tokens: int = 1, max_steps: int = 0
) -> Splitter:
    """The splitter of a configuration, with its bounds on steps applied.

    Args:
        name: a key of :data:`SPLITTERS`.
        option: the splitter's option (see the table); None or empty for none.
        decode: text of a list of token ids, special tokens kept; see :class:`TokenText`.
        min_step_tokens: shorter steps are merged with their successor (:func:`merge_short_steps`).
        max_steps: upper bound on the number of steps, 0 for none (:func:`limit_steps`). A splitter may have bounds of
            its own.

    Raises:
        ValueError: an unknown name, or an option that is not allowed.
    """
    reason = check_option(name, option)
    if reason:
        raise ValueError(f"splitter {name!r} with option {option!r}: {reason}")
    choice = SPLITTERS[name]
    if choice.bounded is not None:
        return choice.bounded(decode, min_step_tokens, max_steps)
    split = choice.build(decode, option or "")

    def bounded(token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        return limit_steps(merge_short_steps(split(token_ids, log_probs), min_step_tokens), max_steps)

    return bounded


def configured_splitter(config: GPOConfig, decode: Decode) -> Splitter:
    """:func:`build_splitter` with the settings of a run, which were checked before."""
    return build_splitter(config.splitter, config.splitter_option, decode, config.min_step_tokens, config.max_steps)


def merge_short_steps(ends_K: Sequence[int], min_tokens: int) -> list[int]:
    """Merge each step of fewer than ``min_tokens`` tokens with the steps after it.

    The last step has no step after it, so it is merged with the one before.

    Args:
        ends_K: exclusive ends of the steps, strictly increasing.
        min_tokens: lowest number of tokens of a step; 1 merges nothing.

    Returns:
        The ends that remain. The last end never changes.
    """
    if not ends_K:
        return []
    total = ends_K[-1]
    merged: list[int] = []
    start = 0
    for end in ends_K:
        if end - start >= min_tokens or end == total:
            merged.append(end)
            start = end
    if len(merged) > 1 and merged[-1] - merged[-2] < min_tokens:
        del merged[-2]
    return merged


def limit_steps(ends_K: Sequence[int], max_steps: int) -> list[int]:
    """Merge neighbouring steps, as evenly as their number allows, until at most ``max_steps`` remain (0: no limit)."""
    count = len(ends_K)
    if max_steps <= 0 or count <= max_steps:
        return list(ends_K)
    # The i-th of max_steps groups ends after round((i + 1) * count / max_steps) original steps.
    return [ends_K[(i + 1) * count // max_steps - 1] for i in range(max_steps)]
