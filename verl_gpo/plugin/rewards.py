"""A limit for the rewards of verl's reward loop: those that do not come, or are no numbers, fail their rollout."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import Any

from ..core.types import ScoringError, as_number


class Rewards:
    """The rewards that a rollout worker waits for.

    Reason: verl 0.9.1 waits for a reward for ever, so that one that hangs stops the run. And a NaN makes the advantages
    of its group NaN, then the loss, then the policy's weights. We know of no upstream issue.
    Remove when: verl has a limit for rewards, and refuses those that are not finite.

    Args:
        timeout: seconds.

    Attributes:
        waiting: number of rewards that are computed now.
        done: number of rewards that have come, or failed.
    """

    def __init__(self, timeout: float):
        self.waiting = self.done = 0
        self._timeout = timeout

    async def checked(self, scoring: Awaitable[None], output: Any) -> None:
        """Wait for verl's scoring of ``output``, which sets ``output.reward_score``.

        Raises:
            ScoringError: there is no reward in time, or none that is finite.
        """
        self.waiting += 1
        try:
            await asyncio.wait_for(scoring, self._timeout)
        except asyncio.TimeoutError as error:
            raise ScoringError(f"no reward within {self._timeout:g} s") from error
        finally:
            self.waiting, self.done = self.waiting - 1, self.done + 1
        score = output.reward_score
        if score is not None and not math.isfinite(as_number(score)):
            raise ScoringError(f"the reward function returned {score!r}, which is not a finite number")
