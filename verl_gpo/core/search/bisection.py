"""Recursive bisection on the larger change, as in phi-4's pivotal token search (arXiv 2412.08905) and OmegaPRM.

It needs ``O(log K)`` states instead of ``K``: it estimates the value of the state in the middle, and continues in the
half whose change of value is more important under the rule. This is right if the value jumps once. Several jumps can
add up in the wrong half, and jumps in opposite directions cancel each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...config import GPOConfig
from ..critical import RULES
from .view import AnchorView, ByValues


class BisectionSearch(ByValues):
    """``n_mc`` continuations at each state that it visits, one state in each round."""

    def next_states(self, view: AnchorView) -> Sequence[int]:
        importance = RULES[view.config.rule] or abs
        if not view.root_group_tells and view.steps > 1 and not view.requested_K[0]:
            return [0] * view.config.n_mc
        # The last state that can be sampled, or the end, whose value is observed.
        low, high = 0, view.steps
        while high - low > 1:
            middle = (low + high) // 2
            if not view.can_sample(middle):
                high = middle  # prefixes get longer, so no later state can be sampled either
                continue
            value = view.values_K1[middle]
            if not value.known:
                return [] if view.requested_K[middle] else [middle] * view.config.n_mc
            first = importance(value.mean - view.values_K1[low].mean)
            # A value beyond the prefix limit may be missing; then the outcome is used in its place.
            end = view.values_K1[high] if view.values_K1[high].known else view.values_K1[-1]
            second = importance(end.mean - value.mean)
            low, high = (low, middle) if first >= second else (middle, high)
        return []

    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        # Means are known only where continuations were drawn; the belief, and chance, may choose another state.
        elsewhere = self.by_belief(config) or RULES[config.rule] is None
        return (0, config.n_mc) if elsewhere else (config.n_mc,)

    def states_valued(self, steps: int) -> int:
        return math.ceil(math.log2(max(steps, 1)))
