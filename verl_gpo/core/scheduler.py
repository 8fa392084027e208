"""Decides which request is sent to the engine next, and how many are in flight at the same time.

All prompts of a rollout worker share one :class:`Scheduler`. It grants slots fairly by tokens, so that a prompt of few
short requests does not wait behind one that asks for thousands of long ones (start-time fair queueing, Goyal et al.
1996): a request gets the start tag ``max(V, F)``, with ``F`` the end of the prompt's previous request and ``V`` the
start tag that was served last, and the smallest start tag is served next. One prompt holds at most half of the slots,
because a running request cannot be interrupted when a prompt with shorter requests arrives.

Root rollouts are sent by verl and not by the scheduler, but they hold places of the engine, too. So slots are counted
for both. A part of the slots is for the search alone: without it the prompts whose roots are back would wait for those
whose roots are not.

The token budget is in :mod:`verl_gpo.core.budget`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

#: Share of the slots that one prompt may hold, and share that roots do not take.
_MOST_OF_SLOTS, _NOT_FOR_ROOTS = 0.5, 0.25


class Scheduler:
    """Grants slots to the requests of many prompts.

    Args:
        slots: requests in flight at once, those of roots included, at least 1.
    """

    def __init__(self, slots: int):
        if slots < 1:
            raise ValueError(f"slots={slots}: must be at least 1")
        self.slots = slots
        self.held = 0
        self._most = math.ceil(slots * _MOST_OF_SLOTS)
        self._least = math.ceil(slots * _NOT_FOR_ROOTS)
        self._roots: set[Hashable] = set()
        self._served = 0.0  # V, in tokens
        self._numbers = itertools.count()
        #: (start tag, number, queue) of the first waiting request of each queue that may hold one more slot.
        self._heads: list[tuple[float, int, Queue]] = []

    def queue(self) -> Queue:
        """The queue of one prompt."""
        return Queue(self)

    def root_sent(self, root: Hashable) -> None:
        """A root rollout was sent to the engine. ``root`` is its name."""
        self._roots.add(root)

    def root_back(self, root: Hashable) -> None:
        """It has come back, or has failed; called a second time, this does nothing."""
        if root in self._roots:
            self._roots.remove(root)
            self._grant()

    def _offer(self, queue: Queue) -> None:
        """Add a queue's first request to the heap, unless it is there already or the queue holds enough slots."""
        if queue.waiting and not queue.offered and queue.held < self._most:
            queue.offered = True
            heapq.heappush(self._heads, (queue.waiting[0][0], next(self._numbers), queue))

    def _grant(self) -> None:
        slots = max(self.slots - len(self._roots), self._least)
        while self.held < slots and self._heads:
            _, _, queue = heapq.heappop(self._heads)
            queue.offered = False
            while queue.waiting and queue.waiting[0][1].done():  # given up while it waited
                queue.waiting.popleft()
            if not queue.waiting:
                continue
            start, ready = queue.waiting.popleft()
            self._served = max(self._served, start)
            self.held += 1
            queue.held += 1
            ready.set_result(None)
            self._offer(queue)

    def _release(self, queue: Queue) -> None:
        self.held -= 1
        queue.held -= 1
        self._offer(queue)
        self._grant()


class Queue:
    """The requests of one prompt, in order. ``waiting`` has their start tags; ``held`` counts their slots."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler
        self._finish = 0.0
        self.waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self.held = 0
        self.offered = False

    @asynccontextmanager
    async def slot(self, tokens: float) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the block.

        Args:
            tokens: what the request is expected to cost.
        """
        scheduler = self._scheduler
        start = max(scheduler._served, self._finish)
        self._finish = start + max(tokens, 1.0)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((start, ready))
        scheduler._offer(self)
        scheduler._grant()
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():  # the slot was granted just before the cancellation
                scheduler._release(self)
            raise
        try:
            yield
        finally:
            scheduler._release(self)
