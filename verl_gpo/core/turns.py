"""Responses of several turns: what the policy wrote, and what its environment answered in between.

Such a response is the policy's tokens and the environment's (answers of tools, and what the chat template puts around
them) in one sequence, with a mask that says which are the policy's. A *turn* is a run of the policy's tokens. With two
turns, ``p`` for the policy's tokens and ``e`` for the environment's::

    token_ids   p p p p e e e p p p
    written     1 1 1 1 0 0 0 1 1 1
    ends_K          2   4         10      three steps: the first turn has two
    starts_K    0   2         7           states s_0, s_1, s_2 keep 0, 2 and 7 tokens

A step is the policy's text alone. What the environment answered belongs to the state behind it, so a state always ends
where the policy writes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from .segment.steps import limit_steps
from .types import Splitter


def turns(written_T: Sequence[int]) -> list[tuple[int, int]]:
    """First token and exclusive end of each run of the policy's tokens.

    Args:
        written_T: 1 where the policy wrote the token, otherwise 0.
    """
    found, position = [], 0
    for written, run in groupby(written_T, bool):
        length = sum(1 for _ in run)
        if written:
            found.append((position, position + length))
        position += length
    return found


def step_starts(ends_K: Sequence[int], written_T: Sequence[int] | None = None) -> tuple[int, ...]:
    """``(K,)`` first tokens of the steps: where a step before has ended and the policy writes again.

    Args:
        ends_K: exclusive ends of the steps, each behind a token of the policy's.
        written_T: which tokens the policy wrote; None for all.
    """
    starts_K = (0, *ends_K)[: len(ends_K)]
    if written_T is None:
        return starts_K
    # An environment's answer lies before a step and never behind the last one's own text.
    return tuple(start + list(written_T[start:end]).index(1) for start, end in zip(starts_K, ends_K, strict=True))


def split_turns(
    splitter: Splitter,
    token_ids: Sequence[int],
    log_probs: Sequence[float] | None = None,
    written_T: Sequence[int] | None = None,
    max_steps: int = 0,
) -> list[int]:
    """Cut each turn of a response into steps.

    Args:
        splitter: cuts the text of one turn.
        token_ids: ``(T,)`` response tokens.
        log_probs: ``(T,)`` their log-probs.
        written_T: which of them the policy wrote; None for all.
        max_steps: upper bound on the number of steps of the response (:func:`limit_turn_steps`), 0 for none.

    Returns:
        ``(K,)`` exclusive ends, strictly increasing; the last is the end of the last turn. [] if the policy wrote
        nothing.
    """
    if written_T is None:
        return splitter(token_ids, log_probs)
    ends_K: list[int] = []
    for start, end in turns(written_T):
        own = None if log_probs is None else log_probs[start:end]
        ends_K += [start + position for position in splitter(token_ids[start:end], own)]
    return limit_turn_steps(ends_K, written_T, max_steps)


def limit_turn_steps(ends_K: Sequence[int], written_T: Sequence[int] | None, max_steps: int) -> list[int]:
    """Merge neighbouring steps until at most ``max_steps`` remain (0: no limit), first those of the same turn.

    Whole turns are merged, as evenly as their number allows, only if there are more of them than steps allowed. Such a
    step spans the answers between its turns.
    """
    count = len(ends_K)
    if max_steps <= 0 or count <= max_steps:
        return list(ends_K)
    if written_T is None:
        return limit_steps(ends_K, max_steps)
    ends = [end for _, end in turns(written_T)]
    if max_steps <= len(ends):
        return limit_steps(ends, max_steps)
    own = [[step for step in ends_K if start < step <= end] for start, end in zip([0, *ends], ends, strict=False)]
    allowed = [1] * len(own)
    for _ in range(max_steps - len(own)):
        # The turn with most steps for each step that it may keep gets one more.
        allowed[max(range(len(own)), key=lambda turn: len(own[turn]) / allowed[turn])] += 1
    return [end for steps, most in zip(own, allowed, strict=True) for end in limit_steps(steps, most)]


def answered(ends_K: Sequence[int], written_T: Sequence[int] | None) -> list[bool]:
    """``(K,)`` whether the environment spoke between a step's first token and the state behind the step."""
    starts_K = step_starts(ends_K, written_T)
    if written_T is None or not ends_K:
        return [False] * len(ends_K)
    return [
        0 in written_T[start:behind] for start, behind in zip(starts_K, (*starts_K[1:], len(written_T)), strict=True)
    ]
