"""Control for agents: reset behind the tool call after which the policy was least sure, as ARPO branches (2507.19849).

ARPO compares the entropy of the first tokens behind each answer of a tool with that of the first tokens of the
response, and branches where it has risen most. The latter is the same for all turns of a response, so the turn with the
highest entropy is chosen. ARPO computes the entropy from the engine's best alternatives of each token. Here it is
estimated by ``-log p`` of the tokens that were sampled, whose mean is the entropy: this needs no more from the engine
than the log-probs that training needs anyway.
"""

from __future__ import annotations

import math

import numpy as np

from ..critical import CriticalStep
from .view import AnchorView, Unsearched

#: Number of tokens behind an answer whose entropy is averaged.
FIRST_TOKENS = 20


class ToolEntropy(Unsearched):
    """No value is estimated. A response without a tool's answer, or with none that can be reset to, has no step."""

    needs_log_probs = True

    def choose(self, view: AnchorView) -> CriticalStep | None:
        entropy_K = entropy_behind_answers(view)
        step_of = view.step_of()
        states = [state for state in step_of if state < view.steps and not math.isnan(entropy_K[state])]
        if not states:
            return None
        return CriticalStep(step_of[max(states, key=lambda state: (entropy_K[state], -state))], math.nan)


def entropy_behind_answers(view: AnchorView) -> list[float]:
    """Estimated entropy per token, in nats, of what the policy wrote first at each state that an answer leads to.

    Returns:
        ``(K,)``; NaN at a state that no answer leads to, or if there are no log-probs.
    """
    log_probs, written = view.root.log_probs, view.root.written
    entropy_K = [math.nan] * view.steps
    if log_probs is None or written is None:
        return entropy_K
    for state in range(1, view.steps):
        start = view.starts_K[state]
        if not written[start - 1]:
            first = slice(start, start + FIRST_TOKENS)
            own = np.asarray(written[first], dtype=bool)
            # Up to the end of this turn.
            end = len(own) if own.all() else int(own.argmin())
            entropy_K[state] = -float(np.mean(log_probs[first][:end]))
    return entropy_K
