"""New rollouts from the reset state."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ScoredContinuation
from .base import Drawing, Draws, LearnFrom, Learnt


class Fresh(LearnFrom):
    """Unbiased: the continuations that chose the state are not used. Costs ``n_reentry`` rollouts, at ``s_0`` too."""

    keeps_tokens = False

    def missing(self, search: Drawing, reset_state: int, drawn: int, n_reentry: int) -> int:
        return n_reentry

    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        return tuple(added)

    def _expected(self, search: Drawing, draws: Draws, n_reentry: int) -> Learnt:
        return Learnt(n_reentry, n_reentry)
