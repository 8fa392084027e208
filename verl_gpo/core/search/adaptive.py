"""Best-step identification on a budget: each continuation is drawn where it says most about which step is critical.

Under the belief of :mod:`verl_gpo.core.curve`, the best step is a random variable ``M``. A continuation from ``s_k``
succeeds with probability ``V(s_k)``. Its outcome ``O`` has the mutual information ``I(M; O) = H(O) - E[H(O | M)]`` with
the best step, computed from sampled curves (information-directed sampling, cf. arXiv 1403.5556; top-two sampling,
1602.08448). A round draws the continuations whose outcomes *together* have most information for the tokens that they
are expected to cost. If the value jumps once, this behaves like a noisy binary search; if there are several jumps, also
in opposite directions, it draws near each of them.

It stops when one step, or "none", has at least the probability ``stop_confidence``, or when the budget is spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...config import GPOConfig
from ..learn import LEARN_FROM
from ..learn.base import Draws
from .view import AnchorView, ByBelief

#: Number of draws in one round. Their joint outcomes are enumerated, so the work grows as 2 to this power.
_PICKS = 4
#: Tokens that are added to the cost of each request, because a request costs the engine more than its tokens.
_REQUEST_TOKENS = 4.0
#: Pseudo-count that smooths the outcome probabilities of a step that is rarely the best towards the overall ones.
_SHRINKAGE = 2.0


class AdaptiveSearch(ByBelief):
    """Spends at most ``search_budget`` continuations for each anchor, at states where the choice is still uncertain."""

    def next_states(self, view: AnchorView) -> Sequence[int]:
        left = adaptive_budget(view.config, view.steps) - sum(view.requested_K)
        left -= view.learn_from.kept_back(view.config.n_reentry)
        can_sample_K1 = [view.can_sample(k) for k in range(view.steps + 1)]
        # s_0 has the root group. Neighbouring states of equal value are one state; the last is cheapest to draw from.
        states = [
            k
            for k in range(1, view.steps)
            if can_sample_K1[k] and (view.curve.differs_K[k] or not can_sample_K1[k + 1])
        ]
        if left < 1 or not states or not any(view.eligible_K):
            return []
        curves_SK1, labels_S = view.belief()
        if np.bincount(labels_S).max() >= view.config.stop_confidence * len(labels_S):
            return []
        low, high = view.bounds.low, view.bounds.high
        success_SJ = (curves_SK1[:, states] - low) / max(high - low, 1e-9)
        cost_J = np.array([view.continuation_tokens(k) + _REQUEST_TOKENS for k in states])
        repeat = _repeat(view.config)
        picks = [states[j] for j in most_telling_draws(success_SJ, labels_S, cost_J, _PICKS) for _ in range(repeat)]
        return picks[:left]

    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        return Draws(adaptive_budget(config, steps) if steps > 1 else 0, config.n_reentry)

    def rounds(self, config: GPOConfig, steps: int) -> int:
        left = self.drawn_at_reset(config, steps)[-1] if steps > 1 else 0
        return math.ceil(left / (_PICKS * _repeat(config)))

    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        kept_back = LEARN_FROM[config.learn_from].kept_back(config.n_reentry)
        return 0, max(adaptive_budget(config, steps) - kept_back, 0)


def _repeat(config: GPOConfig) -> int:
    """How often each draw of a round is made."""
    return max(1, config.n_mc // _PICKS)


def adaptive_budget(config: GPOConfig, steps: int) -> int:
    """Number of continuations that may be drawn for an anchor of ``steps`` steps, with those for the chosen state."""
    if config.search_budget:
        return config.search_budget
    return config.n_mc * min(2 * math.ceil(math.log2(max(steps, 2))), max(steps - 1, 1))


def most_telling_draws(success_SJ: np.ndarray, labels_S: np.ndarray, cost_J: np.ndarray, picks: int) -> list[int]:
    """Greedily pick the draws whose joint outcome has most information about the label, relative to their cost.

    Args:
        success_SJ: success probability of a draw at each state under each curve. Shape ``(S, J)``.
        labels_S: the label of each curve, to be identified by the draws, as small integers. Shape ``(S,)``.
        cost_J: cost of a draw at each state. Shape ``(J,)``.
        picks: the number of draws.

    Returns:
        Columns of ``success_SJ``; a column occurs as often as it was picked.
    """
    count_M = np.bincount(labels_S)
    count_M = count_M[count_M > 0]
    # The curves are sorted by label, so that the sums for each label run over a contiguous range.
    success_SJ = success_SJ[labels_S.argsort(kind="stable")]
    last_M = count_M.cumsum().tolist()
    members_M = [slice(first, last) for first, last in zip([0, *last_M], last_M, strict=False)]
    share_M = count_M / len(labels_S)
    # Probability of each joint outcome of the draws picked so far: for each curve, and summed over each label's curves.
    outcomes_OS = np.ones((1, len(labels_S)))
    total_MO = count_M[:, None]
    known, chosen = 0.0, []
    for _ in range(picks):
        # The same after one more draw: with a success, and with a failure.
        success_MOJ = np.array([outcomes_OS[:, members] @ success_SJ[members] for members in members_M])
        joint_MOJ = np.concatenate([success_MOJ, total_MO[..., None] - success_MOJ], axis=1)
        overall_OJ = joint_MOJ.sum(axis=0) / len(labels_S)
        given_MOJ = joint_MOJ + _SHRINKAGE * overall_OJ
        given_MOJ /= (count_M + _SHRINKAGE)[:, None, None]
        information_J = _entropy(overall_OJ) - share_M @ _entropy(given_MOJ)
        best = int(((information_J - known) / cost_J).argmax())
        chosen.append(best)
        known, total_MO = information_J[best], joint_MOJ[..., best]
        success_OS = outcomes_OS * success_SJ[:, best]
        outcomes_OS = np.concatenate([success_OS, outcomes_OS - success_OS])
    return chosen


def _entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy in nats over the second axis from the end."""
    terms = np.maximum(probability, 1e-12)
    np.log(terms, out=terms)
    terms *= probability
    return -terms.sum(axis=-2)
