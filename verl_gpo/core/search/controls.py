"""Controls: what is left of GPO without a search."""

from __future__ import annotations

from ..critical import CriticalStep, select_critical_step
from ..values import step_advantages
from .view import AnchorView, Unsearched


class RandomStep(Unsearched):
    """Satori's random reset, the paper's ablation: any step, no values, whatever the rule."""

    def choose(self, view: AnchorView) -> CriticalStep | None:
        return select_critical_step(step_advantages(view.values_K1), "random", rng=view.rng, eligible_K=view.eligible_K)


class GivenStep(Unsearched):
    """Any of the steps that the data set says are decisive: what a search could find at best, at no cost."""

    needs_given_steps = True

    def choose(self, view: AnchorView) -> CriticalStep | None:
        eligible_K = [may and step in view.given for step, may in enumerate(view.eligible_K)]
        return select_critical_step(step_advantages(view.values_K1), "random", rng=view.rng, eligible_K=eligible_K)


class NoSearch(Unsearched):
    """No search, no critical step, no re-entry: the base optimizer with GPO's metrics."""

    reenters = False

    def choose(self, view: AnchorView) -> CriticalStep | None:
        return None
