"""The best of the continuations that the search drew from the reset state."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ScoredContinuation
from .base import Drawing, LearnFrom, whole


class Best(LearnFrom):
    """One rollout: that of the highest reward, the first of equals. It takes its anchor's place (``rows=replaced``).

    GPO's authors' own code does this. It is biased twice: the state was chosen because its continuations did well, and
    of these only the best one is learnt from.
    """

    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        among = whole((*samples, *added)) if critical else ()
        return (max(among, key=lambda sample: sample.reward),) if among else ()

    def missing(self, search: Drawing, reset_state: int, drawn: int, n_reentry: int) -> int:
        return 0 if drawn else 1
