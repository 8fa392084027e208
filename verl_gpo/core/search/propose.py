"""Propose and check: candidates cost nothing, and what checks a candidate is the group that is learnt from.

The belief (:mod:`verl_gpo.core.curve`) knows the outcome, the root group's mean and the rollout's log-probs before a
single continuation is drawn. Its most probable step is proposed; ``n_reentry`` continuations from the state that it
resets to are drawn, and the belief looks again. Where it now prefers another step, that one is checked, too. Of the
steps that were checked the most probable one is critical; so no group is drawn twice, and none that nobody asked for.
Under ``split`` half a group checks, and the other half is drawn for the step that is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..critical import CriticalStep, select_by_belief
from ..learn import check_size
from .view import AnchorView, ByBelief


class ProposeSearch(ByBelief):
    """Checks at most ``max_proposals`` steps. With ``learn_from=all`` nearly every token it draws is trained on."""

    by_group = True

    def plan(self, view: AnchorView) -> Sequence[int]:
        checked = sum(requested > 0 for requested in view.requested_K)
        if checked >= view.config.max_proposals:
            return []
        curves_SK1, labels_S = view.belief()
        critical = select_by_belief(labels_S, curves_SK1)
        if critical is None:
            return []
        state = view.reset_state(critical.index)
        # The root group is what checks s_0, and it is drawn already.
        if state == 0 or view.requested_K[state]:
            return []
        return [state] * check_size(view.config.learn_from, view.config.n_reentry)

    def choose(self, view: AnchorView) -> CriticalStep | None:
        if not any(view.requested_K):  # there were no tokens for a check
            return view.select(by_belief=True)
        resets = map(view.reset_state, range(view.steps))
        checked_K = [state == 0 or (state < view.steps and view.requested_K[state] > 0) for state in resets]
        return view.select(by_belief=True, among_K=checked_K)
