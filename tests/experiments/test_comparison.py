"""Comparisons over seeds, against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.evidence_statistics import (
    accuracy_at,
    at_equal_cost,
    cost_to_reach,
    geometric,
    paired_by_seed,
    reach,
    t_p_value,
)
from tests.evidence_samples import a_run
from verl_gpo.statistics import estimate


def curve(*points):
    return a_run(curve=points).points


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # 97.5 % quantiles of any table of Student's t.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (9, 2.262), (30, 2.042)],
)
def test_the_p_value_of_a_tabled_quantile(degrees, quantile):
    assert t_p_value(quantile, degrees) == pytest.approx(0.05, abs=2e-4)
    assert t_p_value(-quantile, degrees) == t_p_value(quantile, degrees)


@given(st.floats(0, 60), st.integers(1, 12))
def test_the_p_value_is_the_area_under_the_density(t, degrees):
    # Substituting x = sqrt(v) tan(a) makes the density cos(a)^(v-1) over its own area.
    angles = (np.arange(20_000) + 0.5) * math.pi / 40_000
    density = np.cos(angles) ** (degrees - 1)
    tail = np.where(angles >= math.atan(t / math.sqrt(degrees)), density, 0.0)
    assert t_p_value(t, degrees) == pytest.approx(tail.sum() / density.sum(), abs=2e-4)


def test_the_ends_of_the_p_value():
    assert t_p_value(0.0, 3) == 1.0 and t_p_value(math.inf, 3) == 0.0
    with pytest.raises(ValueError, match="degrees=0"):
        t_p_value(1.0, 0)


def test_paired_by_seed_by_hand():
    # Mean .02, deviation .01, standard error .01/sqrt(3): t = 2 sqrt(3) with 2 degrees, p = 1 - t/sqrt(2 + t^2).
    found = paired_by_seed([0.01, 0.02, 0.03])
    half = 4.303 * 0.01 / math.sqrt(3)
    assert (found.difference.mean, found.difference.low) == pytest.approx((0.02, 0.02 - half))
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14)) and found.seeds == 3


def test_what_has_no_interval_or_no_p():
    assert paired_by_seed([]) is None
    one = paired_by_seed([0.1])
    assert one.p is None and one.difference.low is None and one.seeds == 1
    assert paired_by_seed([0.0, 0.0]).p == 1.0
    # Seeds that differ by the same amount have no error to compare it with.
    assert paired_by_seed([0.1, 0.1]).p is None


@given(st.lists(st.integers(-1000, 1000).map(lambda points: points / 1000), min_size=2, max_size=8))
def test_the_interval_leaves_zero_out_where_p_is_below_five_percent(differences):
    found = paired_by_seed(differences)
    if found.p is not None and abs(found.p - 0.05) > 1e-3:
        low, high = found.difference.low, found.difference.high
        assert (low > 0 or high < 0) == (found.p < 0.05)


def test_a_geometric_mean_by_hand():
    found = geometric([2.0, 8.0])
    assert found.mean == pytest.approx(4.0)
    half = 12.706 * math.log(8 / 2) / math.sqrt(2) / math.sqrt(2)
    assert math.log(found.high) == pytest.approx(math.log(4) + half, rel=1e-4)
    assert geometric([]) is None and geometric([3.0]).low is None


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_a_ratio_and_its_inverse_say_the_same(ratios):
    one, other = geometric(ratios), geometric([1 / ratio for ratio in ratios])
    assert one.mean * other.mean == pytest.approx(1)
    if one.low is not None and one.low > 0:
        assert one.low * other.high == pytest.approx(1)


@pytest.mark.parametrize(
    ("spent", "accuracy"), [(0, 0.2), (250, 0.3), (500, 0.4), (750, 0.35), (1000, 0.3), (1001, None), (-1, None)]
)
def test_accuracy_is_read_on_the_line_between_two_evaluations(spent, accuracy):
    found = accuracy_at(curve((0, 0.2), (500, 0.4), (1000, 0.3)), "tokens", spent)
    assert found is None if accuracy is None else found == pytest.approx(accuracy)


def test_equal_cost_is_the_most_that_both_had_spent():
    # Seed 0: both at 1000, where ours is half way from .2 to .6. Seed 1 at 500, seed 2 is not shared.
    ours = {0: curve((0, 0.2), (2000, 0.6)), 1: curve((0, 0.2), (500, 0.5))}
    theirs = {0: curve((0, 0.2), (1000, 0.3)), 1: curve((0, 0.2), (1000, 0.6)), 2: curve((0, 0.2), (9, 0.9))}
    found = at_equal_cost(ours, theirs, "tokens")
    assert found.spent == 750 and found.pairs.seeds == 2
    assert found.pairs.difference.mean == pytest.approx(((0.4 - 0.3) + (0.5 - 0.4)) / 2)
    assert at_equal_cost({0: curve((0, 0.2))}, {1: curve((0, 0.2))}, "tokens") is None
    assert at_equal_cost({0: ()}, {0: curve((0, 0.2))}, "tokens") is None


def test_a_curve_first_gets_there_on_its_way_up():
    points = curve((0, 0.2), (100, 0.6), (200, 0.3), (300, 0.9))
    assert cost_to_reach(points, 0.4) == pytest.approx(50)
    assert cost_to_reach(points, 0.75) == pytest.approx(275)
    assert cost_to_reach(points, 0.1) == 0 and cost_to_reach(points, 0.95) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1))
def test_it_costs_no_more_to_reach_less(accuracies, target):
    points = curve(*((100 * i, a) for i, a in enumerate(accuracies)))
    more, less = cost_to_reach(points, target), cost_to_reach(points, target / 2)
    if more is not None:
        assert less <= more
        assert accuracy_at(points, "tokens", more) >= target - 1e-9


def test_reach_over_the_whole_run_and_over_where_the_baseline_first_had_it():
    # The baseline has its final .6 first at 500 of its 1000; ours at 250.
    theirs = {0: curve((0, 0.2), (500, 0.6), (750, 0.7), (1000, 0.6))}
    found = reach({0: curve((0, 0.2), (500, 1.0))}, theirs)
    assert (found.of_whole.mean, found.of_first.mean) == pytest.approx((0.25, 0.5))
    assert (found.reached, found.seeds, found.bound) == (1, 1, False)


def test_a_seed_that_never_gets_there_makes_a_bound():
    theirs = {seed: curve((0, 0.2), (1000, 0.6)) for seed in (0, 1)}
    ours = {0: curve((0, 0.2), (1000, 1.0)), 1: curve((0, 0.2), (2000, 0.5))}
    found = reach(ours, theirs)
    assert found.bound and (found.reached, found.seeds) == (1, 2)
    assert found.of_whole.mean == pytest.approx(math.sqrt(0.5 * 2.0)) and found.of_whole.low is None


def test_what_is_there_from_the_start_is_not_reached():
    flat = {0: curve((0, 0.6), (1000, 0.6))}
    assert reach({0: curve((0, 0.6), (1000, 0.9))}, flat) is None


@given(st.lists(st.tuples(st.floats(0.3, 1), st.integers(1, 5)), min_size=1, max_size=4))
def test_against_itself_a_method_needs_what_it_needed(ends):
    runs = {seed: curve((0, 0.2), (1000 * scale, end)) for seed, (end, scale) in enumerate(ends)}
    found = reach(runs, runs)
    assert found.of_whole.mean == pytest.approx(1) and found.of_first.mean == pytest.approx(1) and not found.bound
    same = at_equal_cost(runs, runs, "seconds")
    assert same.pairs.difference.mean == 0 and same.pairs.seeds == len(ends)


def test_the_interval_is_that_of_the_report():
    values = [0.1, 0.3, 0.2]
    assert paired_by_seed(values).difference == estimate(values)
