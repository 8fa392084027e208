"""The paper's search: ``n_mc`` continuations at every state between two steps, all at once.

And at ``s_0``, where the group is a single root: its mean would be that root's own outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

from .view import AnchorView, ByValues


class UniformSearch(ByValues):
    """Values every inner state."""

    def next_states(self, view: AnchorView) -> Sequence[int]:
        first = 1 if view.root_group_tells or view.steps == 1 else 0
        states = [k for k in range(first, view.steps) if view.can_sample(k) and not view.requested_K[k]]
        return [state for state in states for _ in range(view.config.n_mc)]

    def states_valued(self, steps: int) -> int:
        return max(steps - 1, 0)
