"""The paper's search: ``n_mc`` continuations at every state between two steps, all at once.

If the group is a single root, it also draws at ``s_0``, because the group's mean would be that root's own outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...config import GPOConfig
from .view import AnchorView, ByValues


class UniformSearch(ByValues):
    """Estimates the value of every state between two steps."""

    def next_states(self, view: AnchorView) -> Sequence[int]:
        first = 1 if view.root_group_tells or view.steps == 1 else 0
        states = [k for k in range(first, view.steps) if view.can_sample(k) and not view.requested_K[k]]
        return [state for state in states for _ in range(view.config.n_mc)]

    def rounds(self, config: GPOConfig, steps: int) -> int:
        return min(self.states_valued(steps), 1)

    def states_valued(self, steps: int) -> int:
        return max(steps - 1, 0)
