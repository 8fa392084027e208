"""State values, their intervals, and step advantages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.types import Continuation, ScoredContinuation
from verl_gpo.core.values import (
    UNKNOWN,
    Bounds,
    StateValue,
    group_value,
    monte_carlo_value,
    observed_value,
    step_advantages,
)


def scored(reward):
    return ScoredContinuation(Continuation((1,)), reward)


def test_values_by_hand():
    assert group_value([1.0, 0.0, 0.0, 1.0]).mean == 0.5
    assert monte_carlo_value([scored(1.0), scored(0.0), scored(1.0)]).mean == pytest.approx(2 / 3)
    assert monte_carlo_value([scored(1.0)]).count == 1
    assert observed_value(0.25).mean == 0.25
    assert not group_value([]).known
    assert not monte_carlo_value([]).known


# z = 1.959964, z^2 = 3.841459. With n = 4: 1 + z^2 / n = 1.960365.
# 0/4: centre = half = (z^2 / 8) / 1.960365 = .480182 / 1.960365 = .244945.
# 2/4: centre = (.5 + .480182) / 1.960365 = .5; half = 1.959964 / 1.960365 * sqrt(.25 / 4 + z^2 / 64) = .349962.
# 1/1: 1 + z^2 = 4.841459; centre = (1 + 1.920729) / 4.841459 = .603275, half = 1.920729 / 4.841459 = .396725.
@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.0, 4, 0.0, 0.48989), (0.5, 4, 0.150038, 0.849962), (1.0, 4, 0.51011, 1.0), (1.0, 1, 0.20655, 1.0)],
)
def test_the_interval_of_a_value_is_wilsons(share, count, low, high):
    assert StateValue(share, count).interval() == pytest.approx((low, high), abs=1e-5)


def test_intervals_of_other_rewards_are_the_scaled_ones():
    # A mean of 0 between -1 and 1 is a share of .5; one of 10 between 0 and 10 a share of 1.
    assert StateValue(0.0, 4).interval(-1.0, 1.0) == pytest.approx((2 * 0.150038 - 1, 2 * 0.849962 - 1), abs=1e-5)
    assert StateValue(10.0, 4).interval(0.0, 10.0) == pytest.approx((5.1011, 10.0), abs=1e-4)


def test_an_observed_value_is_a_point_and_an_unknown_one_is_anything():
    assert observed_value(0.25).interval() == (0.25, 0.25)
    assert UNKNOWN.interval(-1.0, 3.0) == (-1.0, 3.0)


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


def test_rewards_that_are_no_number_are_left_out_of_the_groups_value():
    value = group_value([1.0, math.nan, 0.0, math.inf, 0.5])
    assert (value.mean, value.count) == (0.5, 3)
    assert not group_value([math.nan, -math.inf]).known


@pytest.mark.parametrize(("reward", "share"), [(-10.0, 0.0), (-1.0, 0.0), (0.0, 1 / 4), (2.0, 3 / 4), (9.0, 1.0)])
def test_a_reward_beyond_a_bound_counts_as_the_bound(reward, share):
    assert Bounds(-1.0, 3.0).share(reward) == share


def test_the_share_is_the_mean_of_bounded_rewards_and_not_of_the_mean():
    # -10 counts as 0: (1 + 0 + 0.5 + 0) / 4, while the mean is (1 - 10 + 0.5 + 0) / 4.
    value = group_value([1.0, -10.0, 0.5, 0.0])
    assert (value.mean, value.share) == (-2.125, 0.375)
    assert value.share_of(Bounds()) == 0.375
    assert StateValue(-2.125, 4).share_of(Bounds()) == 0.0  # of the mean, where the rewards are not known


def test_what_was_given_up_or_cut_makes_a_value_unknown():
    cut = ScoredContinuation(Continuation((1,)), 1.0, cut=True)
    assert not monte_carlo_value([scored(1.0)], censored=1).known
    assert not monte_carlo_value([scored(1.0), cut], partial_rewards=False).known
    assert monte_carlo_value([scored(0.0), cut], partial_rewards=True).mean == 0.5
