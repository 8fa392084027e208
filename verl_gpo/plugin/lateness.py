"""How long the prompts of a worker take, and the limits on late ones that follow from it (``step_stretch``)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from ..config import GPOConfig
from ..core.result import GroupResult
from ..core.shadow import Shadow
from ..core.stall import EngineClock
from .roots import RootGroup

#: Share of the prompts whose roots have to come back in time; otherwise the wait for roots has no limit.
_IN_TIME = 0.02


class Lateness:
    """Learns from the prompts of each training step how long those of the next one may take.

    Chains of tokens are bounded by :class:`~verl_gpo.core.shadow.Shadow`. Under ``rows=matched`` that is not enough:
    the rows that are kept for re-entry wait until the first roots have come back, and roots are drawn in their place
    if there is no critical step. So there is also a bound on this wait, in seconds, since nothing else is known of
    roots that are still being generated.

    Args:
        gpo: the settings.
        clock: seconds in which the engine worked.
        by_time: whether the time that has passed counts for chains; without it equal answers give equal choices.
    """

    def __init__(self, gpo: GPOConfig, clock: EngineClock, by_time: bool = True):
        self._clock, self._by_time = clock, by_time
        self._chains = Shadow(gpo.step_stretch)
        matched = bool(gpo.reserved_rows)
        self._seconds = Shadow(gpo.step_stretch * matched)
        self._waits = Shadow(max(gpo.step_stretch - 1.0, 0.0) * matched, _IN_TIME)

    def longest_chain(self, step: int) -> float:
        """Tokens that a prompt of this training step may generate one after another."""
        return self._chains.limit(step)

    def passed(self, step: int, group: RootGroup) -> Callable[[], float]:
        """The time since a prompt's roots were sent, in tokens of the longest root (:mod:`verl_gpo.core.shadow`)."""
        loop, speed = asyncio.get_running_loop(), self._chains.speed(step) * self._by_time
        return lambda: speed * (self._clock.now(loop.time()) - group.began)

    def longest_wait(self, step: int) -> float:
        """Seconds of work after which the rows that are kept for re-entry are started as roots.

        There is a limit if most prompts would end before the longest root does, even with a second rollout after their
        first ones, and if the roots of some are back in time.
        """
        return self._waits.limit(step) if self._seconds.limit(step) < math.inf else math.inf

    async def wait(self, seconds: float, since: float) -> None:
        """Return after a number of seconds of work.

        Args:
            seconds: their number.
            since: the time on the engine's clock from which they count.
        """
        loop = asyncio.get_running_loop()
        while (left := since + seconds - self._clock.now(loop.time())) > 0:
            await asyncio.sleep(max(left, 0.05))

    def note(self, step: int, group: RootGroup, result: GroupResult | None, waited: float) -> None:
        """Remember a prompt that has ended.

        Args:
            step: its training step.
            group: its roots.
            result: of its search, if there was one.
            waited: seconds of work until its first roots had all come back.
        """
        lengths = [len(output.response_ids) for output, _ in group.rollouts.values() if not isinstance(output, list)]
        if result is not None and result.chain and lengths:
            self._chains.note(step, max(lengths), result.chain, group.longest_seconds)
        if group.longest_seconds:
            self._waits.note(step, group.longest_seconds, waited)
            self._seconds.note(step, group.longest_seconds, 2 * waited)
