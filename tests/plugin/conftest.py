"""A rollout worker that is driven as verl drives it: see tests/plugin/fakes.py."""

import pytest

from tests.plugin.fakes import N_MC, N_REENTRY, FakeQueue, N, Run


@pytest.fixture(scope="session")
def composed():
    """Configurations by their overrides; the worker only reads them."""
    return {}


@pytest.fixture
def start(compose, run_overrides, composed, monkeypatch):
    def begin(*overrides):
        queue = FakeQueue()
        queue.install(monkeypatch)
        if overrides not in composed:
            composed[overrides] = compose(
                *run_overrides,
                f"actor_rollout_ref.rollout.n={N}",
                "actor_rollout_ref.rollout.calculate_log_probs=true",
                f"algorithm.gpo.n_mc={N_MC}",
                f"algorithm.gpo.n_reentry={N_REENTRY}",
                *overrides,
            )
        return Run(composed[overrides], queue)

    return begin
