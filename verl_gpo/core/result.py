"""What GPO's procedure (:mod:`~verl_gpo.core.reentry`) returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from .credit import StepCredit
from .critical import CriticalStep
from .draw import Usage
from .learn import ReentryGroup
from .types import ScoredContinuation
from .values import StateValue


@dataclass(frozen=True)
class Reentry:
    """One anchor response: its steps, the values of its states, and its re-entry groups.

    Attributes:
        anchor: index of the response in the group.
        ends: ``(K,)`` exclusive token positions of the steps' ends.
        values: ``(K + 1,)`` state values as the choice saw them; unknown where nothing was drawn.
        critical: the critical step, or None.
        groups: rollouts from reset states, one group for each state; rollouts that failed are missing.
        credit: what its tokens are credited with, with ``credit=steps``; None where that is the outcome.
    """

    anchor: int
    ends: tuple[int, ...]
    values: tuple[StateValue, ...]
    critical: CriticalStep | None
    groups: tuple[ReentryGroup, ...] = ()
    credit: StepCredit | None = None

    @property
    def rollouts(self) -> tuple[ScoredContinuation, ...]:
        return tuple(rollout for group in self.groups for rollout in group.rollouts)


@dataclass
class GroupResult:
    """All re-entries of one prompt and their cost, by phase ``value`` (Monte Carlo) and ``reentry``.

    ``skipped`` says why the prompt was not examined, ``effort`` what was done (:attr:`Account.effort`), and
    ``cpu_seconds`` is the CPU time of the procedure itself. ``thinned`` says that neighbouring steps were merged
    because the values of all states would have cost too much. The others are about a prompt's chain
    (:mod:`verl_gpo.core.shadow`): ``chain`` is what it would be without a limit; under the limit the search of a prompt
    was ``shortened``, or it was too ``late`` for re-entry.
    """

    reentries: list[Reentry] = field(default_factory=list, repr=False)  # a task's text has its result's, all tokens
    usage: dict[str, Usage] = field(default_factory=lambda: {"value": Usage(), "reentry": Usage()})
    skipped: str | None = None
    effort: str = "search"
    thinned: bool = False
    chain: float = 0.0
    shortened: bool = False
    late: bool = False
    cpu_seconds: float = 0.0
