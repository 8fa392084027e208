"""Gives up a continuation that stalls: the engine returns others for a long time, and this one does not come back.

A simple limit in wall-clock seconds would also cut off long answers, and requests that wait in a queue or during a
training step. The state values would then be those of short answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .types import StalledError

T = TypeVar("T")
#: Seconds between two checks of a continuation that has not come back.
_LOOK = 5.0


class EngineClock:
    """Counts the seconds in which the engine was working, judged by the answers that it returned.

    An engine that returns nothing at all is paused for training, or has crashed; in neither case is one request the
    cause. So a time without any answer counts as ``quiet`` seconds at most. A request has stalled if the engine has
    worked on others for much longer than the longest allowed answer takes.

    Args:
        quiet: seconds without any answer that still count as work.
    """

    def __init__(self, quiet: float = 30.0):
        self._quiet = quiet
        self._worked = 0.0
        self._last: float | None = None
        self._seconds_per_token = 0.0

    def now(self, time: float) -> float:
        """Seconds of work until ``time``."""
        return self._worked + (min(time - self._last, self._quiet) if self._last is not None else 0.0)

    def sent(self, time: float) -> None:
        """A request was sent. The clock runs from the first one on: its answer took time, too."""
        if self._last is None:
            self._last = time

    def came_back(self, time: float, tokens: int, seconds: float) -> None:
        """A request has come back.

        Args:
            time: now.
            tokens: number of tokens that it generated.
            seconds: seconds of work (:meth:`now`) since it was sent.
        """
        self._worked, self._last = self.now(time), time
        if tokens:
            self._seconds_per_token = max(0.99 * self._seconds_per_token, seconds / tokens)

    def patience(self, stall_timeout: float, max_tokens: int) -> float:
        """Seconds of work after which a request that has not come back is given up."""
        return stall_timeout + 2.0 * self._seconds_per_token * max_tokens


async def watched(
    work: Awaitable[T],
    clock: EngineClock,
    stall_timeout: float,
    max_tokens: int,
    tokens: Callable[[T], int],
) -> T:
    """Wait for a continuation, and cancel it when it stalls.

    Args:
        work: the request. It is cancelled when it is given up, and must then abort itself in the engine.
        clock: the engine's clock; it is told when the request has come back.
        stall_timeout: see :meth:`EngineClock.patience`.
        max_tokens: the longest answer that is allowed.
        tokens: length of the answer.

    Raises:
        StalledError: the request was given up.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    clock.sent(loop.time())
    started = clock.now(loop.time())
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=min(_LOOK, stall_timeout))
            waited = clock.now(loop.time()) - started
            if not task.done() and waited > clock.patience(stall_timeout, max_tokens):
                raise StalledError(f"given up after {waited:.0f} s in which the engine answered others")
        answer = task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    now = loop.time()
    clock.came_back(now, tokens(answer), clock.now(now) - started)
    return answer
