"""What a prompt and a training step may spend, and what is given up first when it runs out."""

from __future__ import annotations

import math

#: Share of a training step's budget after which prompts that have not begun search no more.
_SEARCH_SHARE = 0.8


class TokenBudget:
    """Tokens that may be generated besides the root rollouts; 0 is no limit.

    Args:
        limit: the budget.
        parent: a wider budget that the same tokens count against.
    """

    def __init__(self, limit: int = 0, parent: TokenBudget | None = None):
        self.limit = limit
        self.spent = 0
        self._parent = parent

    @property
    def left(self) -> float:
        """Tokens that may still be spent; never below 0."""
        own = max(self.limit - self.spent, 0) if self.limit else math.inf
        return min(own, self._parent.left) if self._parent else own

    def spend(self, tokens: int) -> None:
        self.spent += tokens
        if self._parent:
            self._parent.spend(tokens)

    @property
    def effort(self) -> str:
        """How much is done for a prompt that begins now.

        The order in which a training step degrades: ``search`` (as configured), from 80 % of the budget on ``propose``
        (no Monte Carlo; the critical step is the most probable one by what is free), from 100 % on ``none``
        (root rollouts only).
        """
        if not self.limit or self.spent < _SEARCH_SHARE * self.limit:
            return "search"
        return "propose" if self.spent < self.limit else "none"
