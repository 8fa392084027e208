"""Best-step identification on a budget: each continuation is drawn where it says most about which step is critical.

Which step is best is a random variable ``M`` under the belief of :mod:`verl_gpo.core.curve`. A continuation from
``s_k`` succeeds with probability ``V(s_k)``, so what its outcome ``O`` would tell is ``I(M; O) = H(O) - E[H(O | M)]``,
computed from sampled curves (information-directed sampling, cf. arXiv 1403.5556; top-two sampling, 1602.08448). A
round draws the continuations whose outcomes tell most *together*, each weighed against the tokens it is expected to
cost. On a single jump this is a noisy binary search; on several or opposing jumps it goes where they are.

It stops when one step, or "none", is as probable as ``stop_confidence``, or when the budget is spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...config import GPOConfig
from ..learn.base import Draws
from .view import AnchorView, ByBelief

#: States picked in one round. Their joint outcomes are enumerated, so the work grows as 2 to this power.
_PICKS = 4
#: A request costs the engine something besides its tokens.
_REQUEST_TOKENS = 4.0
#: Pseudo-count that pulls the outcome given a rarely best step towards the outcome overall.
_SHRINKAGE = 2.0


class AdaptiveSearch(ByBelief):
    """Spends ``search_budget`` continuations an anchor where the choice is still open."""

    def next_states(self, view: AnchorView) -> Sequence[int]:
        left = adaptive_budget(view.config, view.steps) - sum(view.requested_K)
        left -= view.learn_from.kept_back(view.config.n_reentry)
        can_sample_K1 = [view.can_sample(k) for k in range(view.steps + 1)]
        # s_0 has the root group. Of neighbours that are worth the same, the last is the cheapest to draw from.
        states = [
            k for k in range(1, view.steps) if can_sample_K1[k] and (view.curve.moves_K[k] or not can_sample_K1[k + 1])
        ]
        if left < 1 or not states or not any(view.eligible_K):
            return []
        curves_SK1, labels_S = view.belief()
        if np.bincount(labels_S).max() >= view.config.stop_confidence * len(labels_S):
            return []
        low, high = view.bounds.low, view.bounds.high
        success_SJ = (curves_SK1[:, states] - low) / max(high - low, 1e-9)
        cost_J = np.array([view.continuation_tokens(k) + _REQUEST_TOKENS for k in states])
        repeat = max(1, view.config.n_mc // _PICKS)
        picks = [states[j] for j in most_telling_draws(success_SJ, labels_S, cost_J, _PICKS) for _ in range(repeat)]
        return picks[:left]

    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        return Draws(adaptive_budget(config, steps) if steps > 1 else 0, config.n_reentry)


def adaptive_budget(config: GPOConfig, steps: int) -> int:
    """Continuations that may be drawn for an anchor of ``steps`` steps, those of the chosen state included."""
    if config.search_budget:
        return config.search_budget
    return config.n_mc * min(2 * math.ceil(math.log2(max(steps, 2))), max(steps - 1, 1))


def most_telling_draws(success_SJ: np.ndarray, labels_S: np.ndarray, cost_J: np.ndarray, picks: int) -> list[int]:
    """Greedily pick the draws whose joint outcome tells most about the label, for their cost.

    Args:
        success_SJ: success probability of a draw at each state under each curve. Shape ``(S, J)``.
        labels_S: what is to be found out, as small integers.
        cost_J: cost of a draw.
        picks: how many draws.

    Returns:
        Columns of ``success_SJ``, a column as often as it was picked.
    """
    count_M = np.bincount(labels_S)
    count_M = count_M[count_M > 0]
    # The curves by their label, so that each label's are summed without a look at the others'.
    success_SJ = success_SJ[labels_S.argsort(kind="stable")]
    last_M = count_M.cumsum().tolist()
    members_M = [slice(first, last) for first, last in zip([0, *last_M], last_M, strict=False)]
    share_M = count_M / len(labels_S)
    # Probability of each joint outcome of the draws picked so far: in each curve, and summed over each label's.
    outcomes_OS = np.ones((1, len(labels_S)))
    total_MO = count_M[:, None]
    known, chosen = 0.0, []
    for _ in range(picks):
        # The same with a success appended, or a failure.
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
