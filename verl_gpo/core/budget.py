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
#: What is reserved, over what requests cost on average in the steps before: a mean of so few long ones is uncertain.
_MARGIN = 1.05
#: Training steps that are remembered.
_STEPS = 4


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
        factor: tokens that a request costs, over what is expected of it.

    Attributes:
        reserved: as expected, without the factor.
        settled: what was expected of the requests that have come back.
    """

    def __init__(self, limit: float = 0, parent: Account | None = None, factor: float = 1.0):
        self.limit = limit
        self.factor = factor
        self.spent = 0.0
        self.reserved = 0.0
        self.settled = 0.0
        self._parent = parent

    @property
    def _taken(self) -> float:
        """Tokens that are spent or reserved.

        Short answers come back first. While others are in flight, what they leave of their reserve is not given out
        again, because it will be needed for the long ones.
        """
        if not self.reserved:
            return self.spent
        return max(self.spent + self.factor * self.reserved, self.factor * (self.settled + self.reserved))

    @property
    def effort(self) -> str:
        """How much is done for a prompt that begins now.

        With less than 80 % of the budget taken it is ``search`` (as configured). From 80 % on it is ``propose``: no
        Monte Carlo continuations; the critical step is the most probable one by the root rewards and the log-probs.
        From 100 % on it is ``none``: root rollouts only.
        """
        if not self.limit or self._taken < _SEARCH_SHARE * self.limit:
            return "search"
        return "propose" if self._taken < self.limit else "none"

    @property
    def left(self) -> float:
        """Tokens, as they are expected, that may still be reserved; never below 0, infinite without a limit."""
        own = max(self.limit - self._taken, 0) / self.factor if self.limit else math.inf
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
            self.reserve(-tokens)

    def settle(self, reserved: float, spent: float) -> None:
        """Release the tokens that were reserved for a request, and count the tokens that it has cost."""
        self.reserved -= reserved
        self.settled += reserved
        self.spent += spent
        if self._parent:
            self._parent.settle(reserved, spent)


class StepAccounts:
    """The accounts of the training steps in flight, of which there may be two or more at the same time.

    Continuations are longer than expected where a few are very long: what is expected is the mean length of the roots,
    less the kept prefix. So each step reserves by what the requests of the last four steps cost, over what was expected
    of them.

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
            before = [account for known, account in self._accounts.items() if known < step]
            expected, spent = sum(account.settled for account in before), sum(account.spent for account in before)
            factor = _MARGIN * spent / expected if expected and spent else 1.0
            self._accounts[step] = Account(self._limit, factor=factor)
            for old in [known for known in self._accounts if known < step - _STEPS]:
                del self._accounts[old]
        return self._accounts[step]
