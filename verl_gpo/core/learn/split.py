"""The continuations from the reset state that were not used for the choice."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ScoredContinuation
from .base import Drawing, Draws, LearnFrom, Learnt, placeholders, whole


class Split(LearnFrom):
    """Unbiased and without extra cost, but only half of the continuations are used for the choice.

    Every second continuation of each state is kept out of the choice. A sequential search (``adaptive``) uses all of
    them for the choice instead, and draws the group afterwards from the same budget. A search that checks by groups
    (``propose``) checks with one half of a group and draws the other half for the step that it chose.
    """

    def takes_part(self, search: Drawing, number: int) -> bool:
        return search.sequential or number % 2 == 0

    def check_size(self, n_reentry: int) -> int:
        return max(1, n_reentry // 2)

    def kept_back(self, n_reentry: int) -> int:
        return n_reentry

    def missing(self, search: Drawing, reset_state: int, drawn: int, n_reentry: int) -> int:
        if reset_state == 0:
            return 0
        if search.by_group:
            return n_reentry - min(drawn, n_reentry // 2)
        if search.sequential:
            return n_reentry
        return 0 if drawn // 2 else n_reentry  # a single continuation was used for the choice

    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        if search.sequential:
            return tuple(added)
        return whole((*samples[1::2], *added)) if critical else ()

    def _expected(self, search: Drawing, draws: Draws, n_reentry: int) -> Learnt:
        if search.by_group:
            half = self.missing(search, 1, self.check_size(n_reentry), n_reentry) if draws.search else 0
            return Learnt(half, half)
        if search.sequential:
            return Learnt(min(draws.at_reset, draws.search), 0)
        drawn = int(min(draws.at_reset, draws.search))
        after = self.missing(search, 1, drawn, n_reentry) if drawn else 0
        return Learnt(self.group_size(search, placeholders(drawn), after), after)
