"""What each method is, with a user's number of rollouts."""

import pytest

from verl_gpo.config import ConfigError
from verl_gpo.forecast.methods import NAMES, method


@pytest.mark.parametrize(
    ("name", "rollouts", "expected"),
    [
        ("grpo", 8, (8, 8, 0)),
        ("grpo_half_n", 8, (4, 4, 0)),
        ("grpo_twice_n", 8, (16, 16, 0)),
        ("random", 8, (8, 4, 4)),
        ("lean", 8, (8, 2, 6)),
        ("lean", 16, (16, 4, 12)),
        ("lean", 4, (4, 2, 2)),
        ("fast", 16, (16, 8, 8)),
        ("paper", 8, (8, 8, 0)),
        ("steps", 8, (8, 8, 0)),
        ("fast_steps", 8, (8, 4, 4)),
        ("pods", 8, (16, 16, 0)),
    ],
)
def test_rollouts_roots_and_reserved_rows(name, rollouts, expected):
    found = method(name, rollouts)
    assert (found.rollouts, found.roots, found.config.reserved_rows) == expected


def test_shared_settings_reach_every_method():
    assert {method(name, 8, {"min_step_tokens": 3}).config.min_step_tokens for name in NAMES} == {3}


def test_what_is_trained_on():
    assert method("pods", 8).kept == 8 and method("grpo", 8).kept is None
    assert method("steps", 8).config.credit == method("fast_steps", 8).config.credit == "steps"
    assert method("paper", 8).config.credit == "outcome" and method("vineppo", 8).config.n_reentry == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="^--n=2: lean needs more rollouts; leave it out of --methods"):
        method("lean", 2)
    with pytest.raises(ValueError, match="^--n=2: grpo_half_n needs more rollouts"):
        method("grpo_half_n", 2)
    with pytest.raises(ConfigError, match="min_step_tokens=0"):
        method("grpo", 8, {"min_step_tokens": 0})
