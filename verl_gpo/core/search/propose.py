"""Propose and check: proposing a step costs nothing, and it is checked with the group that becomes training rows.

The belief (:mod:`verl_gpo.core.curve`) uses the outcome, the root group's mean and the rollout's log-probs, which are
known before any continuation is drawn. Its most probable step is proposed. Then ``n_reentry`` continuations are drawn
from the state that this step resets to, and the belief is updated. If another step is now more probable, that step is
checked, too. The critical step is the most probable one of those that were checked, so its group is drawn already.
Under ``split`` half a group checks, and the other half is drawn for the step that is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...config import GPOConfig
from ..critical import CriticalStep, select_by_belief
from ..learn import LEARN_FROM
from ..learn.base import Draws
from .view import AnchorView, ByBelief

#: Highest number of steps that are checked for an anchor.
MAX_PROPOSALS = 2


class ProposeSearch(ByBelief):
    """Checks at most :data:`MAX_PROPOSALS` steps. With ``learn_from=all`` nearly every token it draws is trained on."""

    by_group = True

    def next_states(self, view: AnchorView) -> Sequence[int]:
        checked = sum(requested > 0 for requested in view.requested_K)
        if checked >= MAX_PROPOSALS:
            return []
        curves_SK1, labels_S = view.belief()
        critical = select_by_belief(labels_S, curves_SK1)
        if critical is None:
            return []
        state = view.reset_state(critical.index)
        # s_0 is checked by the root group, which is drawn already.
        if state == 0 or view.requested_K[state]:
            return []
        return [state] * view.learn_from.check_size(view.config.n_reentry)

    def choose(self, view: AnchorView) -> CriticalStep | None:
        if not any(view.requested_K):  # the budget did not allow a check
            return view.select(by_belief=True)
        resets = map(view.reset_state, range(view.steps))
        checked_K = [state == 0 or (state < view.steps and view.requested_K[state] > 0) for state in resets]
        return view.select(by_belief=True, among_K=checked_K)

    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        check = LEARN_FROM[config.learn_from].check_size(config.n_reentry)
        return Draws(check * MAX_PROPOSALS if steps > 1 else 0, check)

    def rounds(self, config: GPOConfig, steps: int) -> int:
        return MAX_PROPOSALS if steps > 1 else 0

    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        return (LEARN_FROM[config.learn_from].check_size(config.n_reentry),)
