"""Reset where a group is expected to teach most for its tokens, by what is free: no continuation is spent on a search.

The critical step says where the value changes; that is not yet where most is learnt. A group of ``n`` rollouts from
``s_k`` teaches nothing if all of them fare alike, which has the probability ``V^n + (1 - V)^n``. If they do not, every
token that could have been another gets a gradient, ``sum_{t >= t_k} (1 - p_t)`` of them if they are as many as the
anchor had. The prompt then costs ``n (L - t_k)`` tokens besides its roots' ``N L``, hence the score

    ``(1 - E[V_k^n + (1 - V_k)^n]) * sum_{t >= t_k} (1 - p_t) / (N L + n (L - t_k))``

with the expectation over the belief (:mod:`verl_gpo.core.curve`). Up to the first token that the policy was not sure of
all states have the same value and the same tokens ahead: the last of them scores best, for a re-entry there has all
that whole rollouts teach without the tokens that all of them share. A later state is better where the anchor got there
by luck. Where the prompt itself scores best there is no re-entry: more roots are what teaches most, and under
``rows=matched`` they take its place.
"""

from __future__ import annotations

import numpy as np

from ..critical import CriticalStep
from ..curve import step_uncertainty
from .view import AnchorView, Unsearched


class InformativeState(Unsearched):
    """The rule, ``min_advantage`` and ``min_confidence`` play no part: no advantage is estimated."""

    needs_log_probs = True

    def choose(self, view: AnchorView) -> CriticalStep | None:
        if not any(view.eligible_K):
            return None
        score_K = information_per_token(view)
        resets = map(view.reset_state, range(view.steps))
        step_of = {state: step for step, state in enumerate(resets) if view.eligible_K[step]}
        best = max((0, *step_of), key=lambda state: (score_K[state], state))
        return CriticalStep(step_of[best], float("nan")) if best else None


def information_per_token(view: AnchorView) -> np.ndarray:
    """The score above of a group of ``n_reentry`` from each state but the last. Shape ``(K,)``."""
    curves_SK1, _ = view.belief()
    low, high = view.bounds.low, view.bounds.high
    values_SK = (curves_SK1[:, :-1] - low) / (high - low)
    size = view.config.n_reentry
    mixed_K = 1.0 - (values_SK**size + (1.0 - values_SK) ** size).mean(axis=0)
    forks_K, _ = step_uncertainty(view.ends_K, view.root.log_probs)
    ahead_K = forks_K[::-1].cumsum()[::-1]
    roots = max(view.values_K1[0].count, 1) * view.response_tokens
    return mixed_K * ahead_K / (roots + size * np.array([view.rollout_tokens(k) for k in range(view.steps)]))
