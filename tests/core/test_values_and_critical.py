"""State values, step advantages and the choice of the critical step."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.critical import RULES, needs_values, select_critical_step
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory
from verl_gpo.core.values import UNKNOWN, group_value, monte_carlo_value, observed_value, step_advantages


def scored(reward):
    return ScoredContinuation(Continuation((1,)), reward)


def test_values_by_hand():
    assert group_value([1.0, 0.0, 0.0, 1.0]).mean == 0.5
    assert monte_carlo_value([scored(1.0), scored(0.0), scored(1.0)]).mean == pytest.approx(2 / 3)
    assert monte_carlo_value([scored(1.0)]).count == 1
    assert observed_value(0.25).mean == 0.25
    assert not group_value([]).known
    assert not monte_carlo_value([]).known


def test_step_advantages_by_hand():
    # V = .25 .5 .5 1 -> A = .25 0 .5; an unknown state leaves both of its neighbours' steps unknown.
    values = [observed_value(v) for v in (0.25, 0.5, 0.5, 1.0)]
    assert step_advantages(values) == [0.25, 0.0, 0.5]
    broken = step_advantages([values[0], UNKNOWN, *values[2:]])
    assert [math.isnan(a) for a in broken] == [True, True, False]


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
def test_advantages_telescope_to_the_outcome_minus_the_root_value(means):
    advantages = step_advantages([observed_value(mean) for mean in means])
    assert math.fsum(advantages) == pytest.approx(means[-1] - means[0], abs=1e-9)


ADVANTAGES = [0.1, -0.6, 0.4, 0.4, math.nan, -0.2]


@pytest.mark.parametrize(("rule", "index"), [("argmax", 2), ("abs", 1), ("argmin", 1)])
def test_rules_by_hand(rule, index):
    critical = select_critical_step(ADVANTAGES, rule)
    assert (critical.index, critical.advantage) == (index, ADVANTAGES[index])


def test_random_rule_is_uniform_needs_no_values_and_repeats_with_its_seed():
    unknown = [math.nan] * 4
    rng = random.Random(0)
    counts = [0] * 4
    for _ in range(4000):
        counts[select_critical_step(unknown, "random", rng=rng).index] += 1
    assert all(900 < count < 1100 for count in counts)
    first, second = (select_critical_step(unknown, "random", rng=random.Random(7)) for _ in range(2))
    assert first.index == second.index
    assert not needs_values("random")
    assert all(needs_values(rule) for rule in RULES if rule != "random")


@pytest.mark.parametrize("rule", ["argmax", "abs", "argmin"])
def test_no_critical_step_where_values_never_move(rule):
    assert select_critical_step([0.0, 0.0, 0.0], rule) is None


@pytest.mark.parametrize("rule", sorted(RULES))
def test_no_critical_step_without_steps(rule):
    assert select_critical_step([], rule) is None


@pytest.mark.parametrize("rule", ["argmax", "abs", "argmin"])
def test_unknown_advantages_are_never_chosen(rule):
    assert select_critical_step([math.nan, math.nan], rule) is None


def test_argmax_wants_a_gain_and_argmin_a_loss():
    assert select_critical_step([-0.5, -0.1], "argmax") is None
    assert select_critical_step([0.5, 0.1], "argmin") is None
    assert select_critical_step([0.5, 0.1], "argmax", min_advantage=0.5) is None


def test_trajectory_refuses_log_probs_of_another_length():
    with pytest.raises(ValueError, match="1 entries for 2 tokens"):
        Trajectory((1, 2), (0.5,), 1.0)
