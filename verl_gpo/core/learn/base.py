"""What a way of ``learn_from`` decides, and what it has to know about the search for that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..types import Continuation, ScoredContinuation, Tokens


class Drawing(Protocol):
    """How a search draws, as far as ``learn_from`` depends on it. A :class:`~verl_gpo.core.search.view.Search` is one.

    Attributes:
        looks: it draws continuations to find the step; otherwise it chooses without any.
        sequential: it chooses first, and then draws the missing part of the chosen state's group from its own budget.
        by_group: a step is checked with the group that becomes training rows (``n_reentry``), or with a part of it.
        reenters: it may choose a step at all.
    """

    looks: bool
    sequential: bool
    by_group: bool
    reenters: bool


class Draws(NamedTuple):
    """Continuations that a search is expected to draw for one anchor.

    Attributes:
        search: at all states between steps, including those for the chosen state's group that the budget pays for.
        at_reset: how many of these are drawn at the reset state.
        at_prompt: drawn in addition at ``s_0``, if the group is a single root and so gives no estimate of its value.
    """

    search: float
    at_reset: float
    at_prompt: float = 0.0


class Learnt(NamedTuple):
    """What one anchor is expected to give: training rows, and rollouts drawn after the search."""

    rows: float
    after: float


@dataclass(frozen=True)
class ReentryGroup:
    """Rollouts from one state that become training rows together and are compared with each other.

    Attributes:
        state: index ``k`` of the state in its anchor.
        root: the anchor's tokens, or only those that are kept.
        rollouts: continuations of ``s_k``.
        critical: whether it is the state that the critical step resets to.
        kept: how many of the tokens are kept; None for all.
    """

    state: int
    root: Tokens
    rollouts: tuple[ScoredContinuation, ...]
    critical: bool
    kept: int | None = None

    @property
    def prefix(self) -> Tokens:
        """Response tokens that are kept. They are copied for each use: all prefixes of a long response take memory."""
        return self.root[: self.kept]


class LearnFrom(ABC):
    """One way. It keeps no state. The defaults of the methods suit a way that uses what the search drew."""

    #: Uses continuations that the search drew as training rows, so their tokens have to be kept.
    keeps_tokens = True

    def takes_part(self, search: Drawing, number: int) -> bool:
        """Whether the search may use the ``number``-th continuation of a state."""
        return True

    def check_size(self, n_reentry: int) -> int:
        """Number of continuations that check a proposed step, for a search that checks by groups."""
        return n_reentry

    def kept_back(self, n_reentry: int) -> int:
        """Number of continuations of its budget that a search leaves for the chosen state's group."""
        return 0

    def missing(self, search: Drawing, reset_state: int, drawn: int, n_reentry: int) -> int:
        """Number of continuations still to be drawn at the reset state after the choice.

        Args:
            search: how it draws.
            reset_state: index of the state. ``s_0`` has the root group already, which is trained on anyway.
            drawn: number of continuations drawn there.
            n_reentry: wanted size of the group.
        """
        if reset_state == 0:
            return 0
        if search.sequential:
            return max(n_reentry - drawn, 0)
        return 0 if drawn else n_reentry  # a state without draws was chosen at random, or by the belief

    @abstractmethod
    def rollouts(
        self,
        search: Drawing,
        samples: Sequence[ScoredContinuation],
        added: Sequence[ScoredContinuation],
        critical: bool,
    ) -> tuple[ScoredContinuation, ...]:
        """The rollouts of one state that become training rows.

        Args:
            search: how it draws.
            samples: the continuations that the search drew there, in order.
            added: the continuations that were drawn there after the choice.
            critical: whether the critical step resets to the state.
        """

    def group_size(self, search: Drawing, samples: Sequence[ScoredContinuation], added: int) -> int:
        """Rollouts that the group at the reset state will have, by :meth:`rollouts` itself.

        Args:
            search: how it draws.
            samples: what the search drew there, in order.
            added: the number of continuations that are drawn there after the choice.
        """
        return len(self.rollouts(search, samples, placeholders(added), critical=True))

    def groups(
        self,
        search: Drawing,
        drawn: Mapping[int, Sequence[ScoredContinuation]],
        reset_state: int | None,
        added: Sequence[ScoredContinuation],
        prefix: Callable[[int], Tokens],
    ) -> tuple[ReentryGroup, ...]:
        """The re-entry groups of one anchor; groups without a rollout are left out.

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
        if not search.looks:  # a state that was chosen without a search has no continuations yet
            return Learnt(n_reentry, n_reentry)
        return self._expected(search, draws, n_reentry)

    def _expected(self, search: Drawing, draws: Draws, n_reentry: int) -> Learnt:
        return Learnt(min(draws.at_reset, draws.search), 0)


def placeholders(number: int) -> tuple[ScoredContinuation, ...]:
    """Continuations that are not drawn yet, where only their number counts."""
    return (ScoredContinuation(Continuation(()), 0.0),) * number


def whole(samples: Sequence[ScoredContinuation]) -> tuple[ScoredContinuation, ...]:
    """The continuations that were not cut short. The policy did not end a cut one, so it must not be trained on."""
    return tuple(sample for sample in samples if not sample.cut)
