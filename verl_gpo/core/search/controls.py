"""Controls for experiments: GPO without a search of its own."""

from __future__ import annotations

from ..critical import CriticalStep, select_critical_step
from ..values import step_advantages
from .view import AnchorView, Unsearched


class RandomStep(Unsearched):
    """Satori's random reset, the paper's ablation: any step, no values; ``rule`` is not used."""

    def choose(self, view: AnchorView) -> CriticalStep | None:
        return select_critical_step(step_advantages(view.values_K1), "random", rng=view.rng, eligible_K=view.eligible_K)


class GivenStep(Unsearched):
    """One of the steps that the data set says are decisive: the best that a search could find, without its cost."""

    needs_given_steps = True

    def choose(self, view: AnchorView) -> CriticalStep | None:
        eligible_K = [may and step in view.given for step, may in enumerate(view.eligible_K)]
        return select_critical_step(step_advantages(view.values_K1), "random", rng=view.rng, eligible_K=eligible_K)


class NoSearch(Unsearched):
    """No search, no critical step, no re-entry: the base optimizer with GPO's metrics."""

    reenters = False

    def choose(self, view: AnchorView) -> CriticalStep | None:
        return None
