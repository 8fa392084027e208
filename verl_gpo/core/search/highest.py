"""The state with the highest mean reward, as GPO's authors' own code searches (docs/authors.md).

Continuations are drawn at the start of every step, the prompt included, ``states_at_once`` states in a round. The
search ends when the mean of a state is that of a solved response. No difference between states is taken: the reset is
to the state from which the policy does best, if it ever succeeds there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...config import GPOConfig
from ..critical import CriticalStep
from ..learn.base import Draws
from .view import AnchorView, Search


class HighestMean(Search):
    """``n_mc`` continuations at the start of each step, in order, until one state is as good as solved."""

    draws_at_prompt = True

    def next_states(self, view: AnchorView) -> Sequence[int]:
        means = [value.mean for value in self._valued(view).values()]
        if any(mean >= view.config.solved_reward for mean in means):
            return []
        left = [state for state in range(view.steps) if view.can_sample(state) and not view.requested_K[state]]
        return [state for state in left[: view.config.states_at_once] for _ in range(view.config.n_mc)]

    def choose(self, view: AnchorView) -> CriticalStep | None:
        valued = self._valued(view)
        step_of = view.step_of()
        states = [state for state in valued if state in step_of]
        if not states:
            return None
        best = max(states, key=lambda state: (valued[state].mean, -state))
        return CriticalStep(step_of[best], float("nan")) if valued[best].mean > 0 else None

    @staticmethod
    def _valued(view: AnchorView) -> dict:
        """The states at which continuations were drawn, and their values."""
        return {
            state: value
            for state, (value, asked) in enumerate(zip(view.values_K1, view.requested_K, strict=False))
            if asked and value.known
        }

    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        return Draws(max(steps - 1, 0) * config.n_mc, config.n_mc, config.n_mc)

    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        return (config.n_mc,)
