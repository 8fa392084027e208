"""Reset to the state whose group is expected to give most gradient for its tokens. It draws no search continuations.

The critical step is where the value changes most, but a group from there does not always give most gradient. A group
of ``n`` rollouts from ``s_k`` gives no gradient if all of them succeed or all fail, which has the probability
``V^n + (1 - V)^n``. Otherwise every token of which the policy was not sure gets a gradient. Their expected number is
``sum_{t >= t_k} (1 - p_t)``, if the new rollouts have as many of them as the anchor. The prompt then costs
``n (L - t_k)`` tokens in addition to the ``N L`` tokens of its roots. This gives the score

    ``(1 - E[V_k^n + (1 - V_k)^n]) * sum_{t >= t_k} (1 - p_t) / (N L + n (L - t_k))``

with the expectation over the belief (:mod:`verl_gpo.core.curve`). All states before the first token of which the policy
was not sure have the same value and the same tokens after them. The last of these states scores best: a re-entry there
gives the same gradient as whole rollouts, without the tokens that all of them share. A later state scores better if the
anchor reached it by luck. If the prompt itself scores best, there is no re-entry: more roots give most gradient, and
under ``rows=matched`` they fill the reserved rows.
"""

from __future__ import annotations

import numpy as np

from ..critical import CriticalStep
from ..curve import step_uncertainty
from .view import AnchorView, Unsearched


class InformativeState(Unsearched):
    """``rule``, ``min_advantage`` and ``min_confidence`` are not used, because no advantage is estimated."""

    needs_log_probs = True

    def choose(self, view: AnchorView) -> CriticalStep | None:
        if not any(view.eligible_K):
            return None
        score_K = information_per_token(view)
        step_of = view.step_of()
        best = max((0, *step_of), key=lambda state: (score_K[state], state))
        return CriticalStep(step_of[best], float("nan")) if best else None


def information_per_token(view: AnchorView) -> np.ndarray:
    """The score above for a group of ``n_reentry`` rollouts from each state except the last. Shape ``(K,)``."""
    curves_SK1, _ = view.belief()
    low, high = view.bounds.low, view.bounds.high
    values_SK = (curves_SK1[:, :-1] - low) / (high - low)
    size = view.config.n_reentry
    mixed_K = 1.0 - (values_SK**size + (1.0 - values_SK) ** size).mean(axis=0)
    forks_K, _ = step_uncertainty(view.ends_K, view.root.log_probs, view.root.written)
    ahead_K = forks_K[::-1].cumsum()[::-1]
    roots = max(view.values_K1[0].count, 1) * view.response_tokens
    return mixed_K * ahead_K / (roots + size * np.array([view.rollout_tokens(k) for k in range(view.steps)]))
