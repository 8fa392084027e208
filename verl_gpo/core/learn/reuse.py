"""The continuations that were drawn from the reset state anyway."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ScoredContinuation
from .base import Drawing, LearnFrom, whole


class Reuse(LearnFrom):
    """Free, but a biased sample of the state.

    Under ``argmax`` the step was chosen *because* its state's continuations did badly (winner's curse), so their mean
    understates ``V(s_m)``. Advantages within the group are centred on that same mean, so their signs stay right; their
    scale does not.
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
