"""A rollout engine in virtual time, for ``bench_scheduler``: continuous batching, a prefix cache, several replicas.

Time passes only while every coroutine waits (:class:`VirtualLoop`), so a training step of minutes is simulated in
seconds, with the real scheduler and the real search.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else can be done."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        # A timer that was cancelled is no event: its loop would wait for the next one in real seconds.
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if not self._ready and self._scheduled:
            self._virtual = max(self._virtual, self._scheduled[0]._when)
        super()._run_once()


@dataclass(frozen=True)
class Hardware:
    """The speed of one replica. The defaults are assumptions, of the order of a 7B model on one data-centre GPU.

    Attributes:
        token_seconds: seconds of one decoding step for a batch of one sequence.
        sequence_seconds: seconds that each further sequence adds to a decoding step.
        prefill_seconds: seconds for one prompt token that is not in the prefix cache.
        max_sequences: largest number of sequences in the batch; further ones wait.
        by_priority: whether those that wait are taken by their priority (verl's ``rollout.scheduling_policy=priority``)
            and not in the order of their arrival (``fcfs``).
    """

    token_seconds: float = 0.0124
    sequence_seconds: float = 1.08e-4
    prefill_seconds: float = 5e-5
    max_sequences: int = 256
    by_priority: bool = True


class Replica:
    """One engine. A decoding step gives one token to every sequence in the batch, and takes longer in a larger
    batch."""

    def __init__(self, hardware: Hardware):
        self._hardware = hardware
        self._steps = 0.0  # decoding steps done so far
        self._at = 0.0  # the time at which they were
        self._running: list[tuple[float, int, asyncio.Future[None]]] = []  # (steps at its end, number, who waits)
        self._waiting: list[tuple[int, int, float, asyncio.Future[None]]] = []  # (priority, number, steps, who waits)
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._cached: dict[object, int] = {}
        self.load = 0
        #: Seconds that sequences spent in the batch, summed over sequences; and seconds in which it was not empty.
        self.sequence_seconds = self.busy_seconds = 0.0

    def _step_seconds(self) -> float:
        return self._hardware.token_seconds + self._hardware.sequence_seconds * len(self._running)

    def _advance(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._running:
            self._steps += (now - self._at) / self._step_seconds()
            self.sequence_seconds += (now - self._at) * len(self._running)
            self.busy_seconds += now - self._at
        self._at = now

    async def generate(self, key: object, context: int, tokens: int, priority: int = 0) -> int:
        """Generate tokens. Returns the number of context tokens that were in the prefix cache.

        Args:
            key: identifies the text of the context; requests with equal keys have the beginning of it in common.
            context: number of tokens of prompt and prefix.
            tokens: number of tokens to generate.
            priority: the lower, the earlier.
        """
        cached = min(self._cached.get(key, 0), context)
        self._cached[key] = max(self._cached.get(key, 0), context)
        prefill = (context - cached) * self._hardware.prefill_seconds / self._hardware.token_seconds
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._advance()
        self.load += 1
        rank = priority if self._hardware.by_priority else 0
        heapq.heappush(self._waiting, (rank, next(self._numbers), tokens + prefill, done))
        self._admit()
        try:
            await done
        finally:
            self.load -= 1
        return cached

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._hardware.max_sequences:
            _, number, work, done = heapq.heappop(self._waiting)
            heapq.heappush(self._running, (self._steps + work, number, done))
        self._plan()

    def _plan(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._running:
            left = max(self._running[0][0] - self._steps, 0.0)
            self._timer = asyncio.get_running_loop().call_later(left * self._step_seconds(), self._finish)

    def _finish(self) -> None:
        self._timer = None
        self._advance()
        while self._running and self._running[0][0] <= self._steps + 1e-6:
            _, _, done = heapq.heappop(self._running)
            if not done.done():
                done.set_result(None)
        self._admit()


class Cluster:
    """Several replicas. The first request of a sticky id goes to the least busy replica, and later ones follow it."""

    def __init__(self, replicas: int, hardware: Hardware):
        self.replicas = [Replica(hardware) for _ in range(replicas)]
        self._home: dict[object, Replica] = {}

    async def generate(self, sticky: object, key: object, context: int, tokens: int, priority: int = 0) -> int:
        if sticky not in self._home:
            self._home[sticky] = min(self.replicas, key=lambda replica: replica.load)
        return await self._home[sticky].generate(key, context, tokens, priority)

    def occupancy(self, seconds: float, hardware: Hardware) -> float:
        """The share of the places in all batches that were used in ``seconds``."""
        held = sum(replica.sequence_seconds for replica in self.replicas)
        return held / (seconds * hardware.max_sequences * len(self.replicas))
