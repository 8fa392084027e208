"""Every state with two continuations or more is a group of its own."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ScoredContinuation
from .base import Drawing, Draws, LearnFrom, Learnt, whole


class All(LearnFrom):
    """No continuation is thrown away, and an anchor without a critical step gives groups, too.

    The group of the critical step is as biased as in ``reuse``; the others are biased in the opposite direction.
    """

    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        rollouts = whole((*samples, *added))
        return rollouts if critical or len(rollouts) > 1 else ()  # a single one has nothing to be compared with

    def _expected(self, search: Drawing, draws: Draws, n_reentry: int) -> Learnt:
        return Learnt(draws.search, 0)
