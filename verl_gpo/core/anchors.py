"""Which prompts are examined, and which of their responses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .types import Trajectory

#: Which responses may be anchors: name -> whether a response may be one, given whether it is solved.
ANCHOR_OUTCOMES: dict[str, Callable[[bool], bool]] = {
    "any": lambda solved: True,
    "failed": lambda solved: not solved,
    "solved": lambda solved: solved,
}

#: Which groups are not examined: name -> whether a group is skipped, given whether each response is solved.
SKIP_GROUPS: dict[str, Callable[[Sequence[bool]], bool]] = {
    "none": lambda solved_N: False,
    "solved": all,
    "failed": lambda solved_N: not any(solved_N),
    "unanimous": lambda solved_N: all(solved_N) or not any(solved_N),  # only mixed groups are examined
    "mixed": lambda solved_N: any(solved_N) and not all(solved_N),  # only groups without a gradient of their own
}


def is_skipped(roots_N: Sequence[Trajectory], rule: str, solved_reward: float) -> bool:
    """Whether a group is not examined.

    Args:
        roots_N: the group.
        rule: a key of :data:`SKIP_GROUPS`.
        solved_reward: least reward of a solved response.
    """
    return SKIP_GROUPS[rule]([root.reward >= solved_reward for root in roots_N])


def choose_anchors(
    roots_N: Sequence[Trajectory], count: int, outcome: str, solved_reward: float, distinct: bool = True
) -> list[int]:
    """Indices of the responses that are examined: the first ones that qualify.

    Args:
        roots_N: the group.
        count: most anchors; 0 for all that qualify.
        outcome: a key of :data:`ANCHOR_OUTCOMES`.
        solved_reward: least reward of a solved response.
        distinct: each distinct response once.
    """
    seen: set[tuple[int, ...]] = set()
    anchors = []
    for index, root in enumerate(roots_N):
        if not math.isfinite(root.reward):
            continue  # its outcome is unknown
        if ANCHOR_OUTCOMES[outcome](root.reward >= solved_reward) and not (distinct and root.token_ids in seen):
            seen.add(root.token_ids)
            anchors.append(index)
    return anchors[:count] if count else anchors
