"""What a way of learning decides, and what it has to know of the search for that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..types import ScoredContinuation, Tokens


class Drawing(Protocol):
    """How a search draws, as far as it decides what is learnt from. A :class:`~verl_gpo.core.search.view.Search`.

    Attributes:
        looks: it draws continuations to find the step; otherwise it chooses without any.
        sequential: it chooses first, and then draws, within its own budget, what the group of the chosen state lacks.
        by_group: what checks a step is the group that is learnt from (``n_reentry``), or a part of it.
        reenters: it may choose a step at all.
    """

    looks: bool
    sequential: bool
    by_group: bool
    reenters: bool


class Draws(NamedTuple):
    """Continuations that a search is expected to draw for one anchor.

    Attributes:
        search: at the states between steps, in all; those of the chosen state that are a part of its budget, too.
        at_reset: of these, at the state that is reset to.
        at_prompt: besides these, at ``s_0``, where the group is a single root and does not tell its value.
    """

    search: float
    at_reset: float
    at_prompt: float = 0.0


class Learnt(NamedTuple):
    """What is expected to come of one anchor: rows that are learnt from, and rollouts drawn after the search."""

    rows: float
    after: float


@dataclass(frozen=True)
class ReentryGroup:
    """Rollouts from one state that are learnt from together.

    Attributes:
        state: index ``k`` of the state in its anchor.
        prefix: response tokens that are kept.
        rollouts: continuations of ``s_k``.
        critical: whether it is the state that the critical step resets to.
    """

    state: int
    prefix: Tokens
    rollouts: tuple[ScoredContinuation, ...]
    critical: bool


class LearnFrom(ABC):
    """One way. It keeps no state, and the default of each method is that of a way that learns from what was drawn."""

    #: Learns from continuations that the search drew, so their tokens have to be kept.
    keeps_tokens = True

    def takes_part(self, search: Drawing, number: int) -> bool:
        """Whether the ``number``-th continuation of a state may be looked at by the search."""
        return True

    def check_size(self, n_reentry: int) -> int:
        """Continuations that check a proposed step, for a search that checks by groups."""
        return n_reentry

    def kept_back(self, n_reentry: int) -> int:
        """Continuations that a search on a budget leaves for the chosen state's group."""
        return 0

    def missing(self, search: Drawing, reset_state: int, drawn: int, n_reentry: int) -> int:
        """Continuations still to be drawn at the reset state after the choice.

        Args:
            search: how it draws.
            reset_state: index of the state. What is drawn at ``s_0`` is the root group, which is learnt from anyway.
            drawn: continuations drawn there.
            n_reentry: wanted size of the group.
        """
        if reset_state == 0:
            return 0
        if search.sequential:
            return max(n_reentry - drawn, 0)
        return 0 if drawn else n_reentry  # chosen without having been sampled: by chance, or by the belief

    @abstractmethod
    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        """The rollouts of one state that are learnt from.

        Args:
            search: how it draws.
            samples: what the search drew there, in order.
            added: what was drawn there after the choice.
            critical: whether the critical step resets to the state.
        """

    def groups(
        self,
        search: Drawing,
        drawn: Mapping[int, Sequence[ScoredContinuation]],
        reset_state: int | None,
        added: Sequence[ScoredContinuation],
        prefix: Callable[[int], Tokens],
    ) -> tuple[ReentryGroup, ...]:
        """The groups of one anchor; those without a rollout are left out.

        Args:
            search: how it draws.
            drawn: state -> the continuations that the search drew there, in order.
            reset_state: where the critical step resets to; None without one.
            added: the continuations drawn there after the choice.
            prefix: the tokens that a state keeps.
        """
        groups = []
        for state, samples in sorted(drawn.items()):
            critical = state == reset_state
            rollouts = self.rollouts(search, samples, added if critical else (), critical)
            if rollouts:
                groups.append(ReentryGroup(state, prefix(state), tuple(rollouts), critical))
        return tuple(groups)

    def expected(self, search: Drawing, draws: Draws, n_reentry: int) -> Learnt:
        """What a critical step is expected to give, for the cost model."""
        if not search.reenters:
            return Learnt(0, 0)
        if not search.looks:  # a state that was chosen without a search has no continuations to learn from
            return Learnt(n_reentry, n_reentry)
        return self._expected(search, draws, n_reentry)

    def _expected(self, search: Drawing, draws: Draws, n_reentry: int) -> Learnt:
        return Learnt(min(draws.at_reset, draws.search), 0)


def whole(samples: Sequence[ScoredContinuation]) -> tuple[ScoredContinuation, ...]:
    """Those that were not cut short: the policy did not end there, so they are no responses to learn from."""
    return tuple(sample for sample in samples if not sample.cut)
