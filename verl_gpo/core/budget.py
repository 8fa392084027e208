"""The token budget of a prompt and of a training step, and what is left out first when a budget runs out.

Tokens are reserved before requests are sent and settled when they have come back. So prompts that are searched at the
same time see what the others have reserved, and not only what the others have completed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

#: Share of a training step's budget after which a prompt that begins now is not searched.
_SEARCH_SHARE = 0.8


class Account:
    """Tokens that may be generated besides the root rollouts.

    >>> step = Account(1000)
    >>> prompt = Account(400, step)
    >>> prompt.reserve(300)
    >>> prompt.left, step.left
    (100.0, 700.0)
    >>> prompt.settle(300, 180)
    >>> prompt.left, step.left
    (220.0, 820.0)

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

        With less than 80 % of the budget taken it is ``search`` (as configured). From 80 % on it is ``propose``: no
        Monte Carlo continuations; the critical step is the most probable one by the root rewards and the log-probs.
        From 100 % on it is ``none``: root rollouts only.
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
        """Set tokens aside for requests that will be sent. The caller has to check :attr:`left` first."""
        self.reserved += tokens
        if self._parent:
            self._parent.reserve(tokens)

    @contextmanager
    def holding(self, tokens: float) -> Iterator[None]:
        """Keep tokens from all others for the block, for requests that are not known yet."""
        self.reserve(tokens)
        try:
            yield
        finally:
            self.settle(tokens, 0.0)

    def settle(self, reserved: float, spent: float) -> None:
        """Release the tokens that were reserved for a request, and count the tokens that it has cost."""
        self.reserved -= reserved
        self.spent += spent
        if self._parent:
            self._parent.settle(reserved, spent)


class StepAccounts:
    """The accounts of the training steps in flight, of which there may be two or more at the same time.

    Args:
        limit: tokens of a training step; 0 for no limit.
        workers: number of equal shares; one of them is given out here.
    """

    def __init__(self, limit: int, workers: int):
        self._limit = max(limit // workers, 1) if limit else 0
        self._accounts: dict[int, Account] = {}

    def of(self, step: int) -> Account:
        """The account of a training step. Those of steps long before it are forgotten."""
        if step not in self._accounts:
            self._accounts[step] = Account(self._limit)
            for old in [known for known in self._accounts if known < step - 2]:
                del self._accounts[old]
        return self._accounts[step]
