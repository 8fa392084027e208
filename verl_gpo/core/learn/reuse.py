"""The continuations that the search drew from the reset state."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ScoredContinuation
from .base import Drawing, LearnFrom, whole


class Reuse(LearnFrom):
    """No extra cost, but a biased sample of the state.

    Under ``argmax`` the step was chosen *because* the continuations of its state had low rewards (winner's curse), so
    their mean is lower than ``V(s_m)`` on average. Advantages are centred on the mean of the same group, so their signs
    stay right, but their scale does not.
    """

    def kept_back(self, n_reentry: int) -> int:
        return n_reentry

    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        return whole((*samples, *added)) if critical else ()
