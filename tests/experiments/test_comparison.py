"""Two methods at equal cost, and the cost of equal accuracy, against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.experiments.comparison import accuracy_at, at_equal_cost, cost_to_reach, reach
from tests.experiments.samples import a_run


def curve(*points):
    return a_run(curve=points).points


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
