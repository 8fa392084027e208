"""Keeps the search of a prompt in the shadow of the longest root: what would end long after it is left out.

A training step ends when its longest *chain* does: the requests of a prompt that wait for each other, which are its
longest root, one continuation of each round of the search, and a re-entry rollout. Plain rollouts have chains of one
root. Where a few roots are much longer than the others, nearly all prompts can be searched while these roots are being
generated. Only a prompt whose own roots are long would make the step longer, because its search begins late.

Lengths are counted in tokens. But requests also wait for a place in the engine, where other rollouts hold all of them.
So the seconds that have passed since the prompt's roots were sent count as well, by the tokens that the longest root of
the last steps had in as many seconds, its own wait included. A chain has the larger of the two lengths. Without a clock
only tokens count, and the same answers give the same choices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Training steps that are remembered. One step of one worker need not have any of the longest roots.
_STEPS = 4


class Shadow:
    """The limit of a worker's prompts, by what it saw in the last training steps.

    It applies only if enough prompts stay below it. Otherwise the roots all have about the same length, no search ends
    before the longest of them, and a limit would just turn the search off.

    >>> shadow = Shadow(1.1)
    >>> for root, chain in ((500, 1500), (1000, 3000), (30_000, 90_000)):
    ...     shadow.note(step=1, root=root, chain=chain)
    >>> shadow.limit(step=2)
    33000.0

    Args:
        share: the limit, as a multiple of the longest root; 0 for none.
        fitting: the share of the prompts that has to stay below it.
    """

    def __init__(self, share: float, fitting: float = 0.5):
        self._share, self._fitting = share, fitting
        self._seen: dict[int, list[tuple[float, float, float]]] = {}

    def note(self, step: int, root: float, chain: float, seconds: float = 0.0) -> None:
        """Remember a prompt.

        Args:
            step: its training step.
            root: its longest root.
            chain: what is limited, as it would be without a limit.
            seconds: until its last root was back.
        """
        self._seen.setdefault(step, []).append((root, chain, seconds))
        for old in [known for known in self._seen if known < step - _STEPS]:
            del self._seen[old]

    def limit(self, step: int) -> float:
        """The limit in a training step, by the steps before it; infinite if none is known or applied."""
        before = self._before(step)
        if not self._share or not before:
            return math.inf
        limit = self._share * max(root for root, *_ in before)
        return limit if sum(chain <= limit for _, chain, _ in before) >= self._fitting * len(before) else math.inf

    def speed(self, step: int) -> float:
        """Tokens that the longest root had for each second until the last root was back; 0 if it is not known."""
        before = self._before(step)
        seconds = max((seconds for *_, seconds in before), default=0.0)
        return max(root for root, *_ in before) / seconds if seconds else 0.0

    def _before(self, step: int) -> list[tuple[float, float, float]]:
        return [seen for known, prompts in self._seen.items() if step - _STEPS <= known < step for seen in prompts]


@dataclass
class Chain:
    """What a prompt has generated so far, counting only requests that waited for each other.

    Attributes:
        tokens: of the chain.
        limit: tokens that it may have.
        passed: the time since the prompt's roots were sent, in tokens.

    >>> chain = Chain(300, limit=1000, passed=lambda: 600.0)
    >>> chain.fits(400), chain.fits(500), chain.room
    (True, False, 400)
    """

    tokens: float
    limit: float = math.inf
    passed: Callable[[], float] = lambda: 0.0

    @property
    def length(self) -> float:
        """Its tokens, or the time if that is more."""
        return max(self.tokens, self.passed())

    def fits(self, further: float) -> bool:
        """Whether a number of further tokens stays below the limit."""
        return self.length + further <= self.limit

    @property
    def room(self) -> int:
        """The most tokens that the next request may generate: at least 1, and 0 if there is no limit."""
        return 0 if self.limit == math.inf else max(int(self.limit - self.length), 1)
