"""What a prompt and a training step may spend, and what is given up first when it runs out.

Tokens are reserved when requests are planned and settled when they have come back, so that prompts that overlap see
each other's plans and not only what has been completed.
"""

from __future__ import annotations

import math

#: Share of a training step's budget after which prompts that have not begun search no more.
_SEARCH_SHARE = 0.8


class Account:
    """Tokens that may be generated besides the root rollouts.

    >>> step = Account(1000)
    >>> prompt = Account(400, step)
    >>> prompt.reserve(300); prompt.left, step.left
    (100, 700)
    >>> prompt.settle(300, 180); prompt.left, step.left
    (220, 820)

    Args:
        limit: the budget; 0 for none.
        parent: a wider account that the same tokens count against.
    """

    def __init__(self, limit: float = 0, parent: Account | None = None):
        self.limit = limit
        self.spent = 0.0
        self.reserved = 0.0
        self._parent = parent

    @property
    def effort(self) -> str:
        """How much is done for a prompt that begins now.

        The order in which a training step degrades: ``search`` (as configured), from 80 % of the budget on ``propose``
        (no Monte Carlo; the critical step is the most probable one by what is free), from 100 % on ``none``
        (root rollouts only).
        """
        taken = self.spent + self.reserved
        if not self.limit or taken < _SEARCH_SHARE * self.limit:
            return "search"
        return "propose" if taken < self.limit else "none"

    @property
    def left(self) -> float:
        """Tokens that may still be reserved; never below 0, infinite without a limit."""
        own = max(self.limit - self.spent - self.reserved, 0) if self.limit else math.inf
        return min(own, self._parent.left) if self._parent else own

    def reserve(self, tokens: float) -> None:
        """Set tokens aside for what has been planned. It is for the caller to look at :attr:`left` first."""
        self.reserved += tokens
        if self._parent:
            self._parent.reserve(tokens)

    def settle(self, reserved: float, spent: float) -> None:
        """Give back what was reserved for a request, and note what it has cost."""
        self.reserved -= reserved
        self.spent += spent
        if self._parent:
            self._parent.settle(reserved, spent)
