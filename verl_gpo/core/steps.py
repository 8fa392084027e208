"""Response tokens to steps.

A step boundary is a position between two token ids, never a position in the text: decoding a prefix and tokenizing it
again may give other tokens than the policy produced. Hence every splitter returns positions, and the steps concatenate
back to the response token for token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache


def merge_short_steps(ends_K: Sequence[int], min_tokens: int) -> list[int]:
    """Merge each step of fewer than ``min_tokens`` tokens with the steps after it.

    The last step, which has nothing after it, is merged with the one before.

    Args:
        ends_K: exclusive ends of the steps, strictly increasing.
        min_tokens: fewest tokens of a step; 1 merges nothing.

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


class NewlineSplitter:
    """Steps are lines: a step ends with the last of the line breaks that follow it.

    A token that holds a line break ends its step, text behind the break within the same token included, since a token
    cannot be cut. Blank lines belong to the line before them.

    Args:
        token_text: decodes one token id. Called once per distinct id.
        min_step_tokens: shorter steps are merged with their successor (:func:`merge_short_steps`).
        max_steps: upper bound on the number of steps, 0 for none (:func:`limit_steps`).
    """

    def __init__(self, token_text: Callable[[int], str], min_step_tokens: int = 1, max_steps: int = 0):
        self._text = lru_cache(maxsize=None)(token_text)
        self._min_step_tokens = min_step_tokens
        self._max_steps = max_steps

    def __call__(self, token_ids: Sequence[int]) -> list[int]:
        """Return the exclusive ends of the steps; see :class:`verl_gpo.core.types.Splitter`."""
        ends: list[int] = []
        open_break = False  # a line has ended, and further line breaks still belong to it
        content = False  # the current line holds something besides white space
        for position, token in enumerate(token_ids):
            text = self._text(token)
            if open_break and text.strip():
                ends.append(position)
                open_break, content = False, False
            line, line_break, _ = text.rpartition("\n")
            open_break = open_break or bool(line_break and (content or line.strip()))
            content = content or bool(text.strip())
        if token_ids:
            ends.append(len(token_ids))
        return limit_steps(merge_short_steps(ends, self._min_step_tokens), self._max_steps)
