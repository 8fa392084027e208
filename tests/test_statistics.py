"""Intervals and tests: by hand, by brute force, and what must hold always."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.evaluation.measures import avg_at_k
from verl_gpo.statistics import (
    bootstrap_interval,
    estimate,
    geometric,
    paired,
    paired_by_seed,
    sign_flip_p,
    wilson_interval,
)


# z = 1.959964, z^2 = 3.841459. With n = 4: 1 + z^2 / n = 1.960365.
# 0/4: centre = half = (z^2 / 8) / 1.960365 = .480182 / 1.960365 = .244945.
# 2/4: centre = (.5 + .480182) / 1.960365 = .5; half = 1.959964 / 1.960365 * sqrt(.25 / 4 + z^2 / 64) = .349962.
# 1/1: 1 + z^2 = 4.841459; centre = (1 + 1.920729) / 4.841459 = .603275, half = 1.920729 / 4.841459 = .396725.
@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.0, 4, 0.0, 0.48989), (0.5, 4, 0.150038, 0.849962), (1.0, 4, 0.51011, 1.0), (1.0, 1, 0.20655, 1.0)],
)
def test_wilson_intervals_by_hand(share, count, low, high):
    assert wilson_interval(share, count) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(1, 500), st.data())
def test_an_interval_holds_its_mean_and_always_has_a_width(count, data):
    successes = data.draw(st.integers(0, count))
    low, high = wilson_interval(successes / count, count)
    assert 0.0 <= low <= successes / count + 1e-12 and successes / count - 1e-12 <= high <= 1.0
    assert high - low > 0.5 / (count + 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 5))
@settings(max_examples=40)
def test_an_interval_holds_the_mean_within_the_values(values, seed):
    low, high = bootstrap_interval(np.array(values), draws=400, seed=seed)
    if max(values) > 0.01 and min(values) < 0.99 and len(set(values)) > 1:  # not all of them as good as 0, or as 1
        assert min(values) - 1e-9 <= low[0] <= high[0] <= max(values) + 1e-9
    assert low[0] - 1e-9 <= np.mean(values) <= high[0] + 1e-9 or len(values) < 8


def test_an_interval_is_the_normal_one_where_that_holds_and_the_same_each_time():
    values = np.repeat([0.0, 1.0], 200)
    low, high = bootstrap_interval(values)
    assert [low[0], high[0]] == pytest.approx([0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025], abs=0.005)
    assert bootstrap_interval(values)[0] == low
    wide = bootstrap_interval(values, level=0.99)
    assert wide[0] < low and wide[1] > high


def test_statistics_of_the_same_problems_are_resampled_together():
    values = np.random.default_rng(0).random(30)
    low, high = bootstrap_interval(np.stack([values, values / 2], axis=1), draws=500)
    assert low[1] == pytest.approx(low[0] / 2) and high[1] == pytest.approx(high[0] / 2)


def test_samples_of_one_problem_do_not_narrow_the_interval():
    few, many = np.repeat([[0.0], [1.0]], 1, axis=1), np.repeat([[0.0], [1.0]], 64, axis=1)
    assert bootstrap_interval(avg_at_k(few)) == bootstrap_interval(avg_at_k(many))


def test_all_right_is_no_certainty():
    low, high = bootstrap_interval(np.ones(30))
    assert (low[0], high[0]) == (pytest.approx(0.8865, abs=1e-3), 1.0)  # Wilson, 30 of 30
    low, high = bootstrap_interval(np.ones(30) - 1e-6)
    assert low[0] == pytest.approx(0.8865, abs=1e-3)
    low, high = bootstrap_interval(np.zeros(30))
    assert (low[0], high[0]) == (0.0, pytest.approx(1 - 0.8865, abs=1e-3))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        rates = rng.beta(2, 3, size=60)  # a mean of .4
        low, high = bootstrap_interval(rng.binomial(4, rates) / 4, draws=400)
        hits += low[0] <= 0.4 <= high[0]
    assert 0.89 <= hits / 200 <= 0.99  # .95 with a standard error of .015


def test_sign_flips_by_hand():
    # Sums of 3, 1 and 1: of 8 patterns 2 reach 5, and 4 reach 3.
    assert sign_flip_p([3, 1, 1]) == 2 / 8
    assert sign_flip_p([3, 1, -1]) == 6 / 8
    assert sign_flip_p([3, 1, -1, 0, 0]) == 6 / 8
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip_p([0.1, 0.2, -0.1]) == 6 / 8  # ties that rounding hides
    assert sign_flip_p([0, 0]) == 1.0


def test_random_sign_flips_agree_with_all_of_them():
    difference = np.random.default_rng(1).normal(0.5, 1, size=14)
    exact = sign_flip_p(difference)
    # One more, so small that it changes nothing but the way.
    assert sign_flip_p([*difference, 1e-12]) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p(np.ones(200)) == pytest.approx(1 / 10_001)


@pytest.mark.parametrize("count", [10, 40])
def test_p_values_are_uniform_under_the_null(count):
    rng = np.random.default_rng(0)
    p = np.array([sign_flip_p(rng.normal(size=count), draws=500, seed=i) for i in range(400)])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert abs((p <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 400)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
@settings(max_examples=40)
def test_a_comparison_the_other_way_round_is_the_same(pairs):
    a, b = map(np.array, zip(*pairs, strict=True))
    one, other = paired([(a, b)], draws=200), paired([(b, a)], draws=200)
    assert one.difference == pytest.approx(-other.difference, abs=1e-12)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert one.p == other.p and 0 < one.p <= 1
    assert one.difference == pytest.approx(b.mean() - a.mean(), abs=1e-12)


def test_a_model_against_itself():
    values = np.array([0.25, 0.5, 1.0])
    result = paired([(values, values)])
    assert (result.difference, result.low, result.high, result.p, result.problems) == (0, 0, 0, 1, 3)


def test_pairing_sees_what_two_intervals_do_not():
    base = np.random.default_rng(0).random(100) * 0.9
    result = paired([(base, base + 0.02)])
    assert result.p < 0.001 and result.low > 0
    low, high = bootstrap_interval(np.stack([base, base + 0.02], axis=1))
    assert low[1] < high[0]


def test_benchmarks_weigh_the_same_in_the_macro_average():
    small, large = (np.zeros(2), np.ones(2)), (np.zeros(100), np.zeros(100))
    result = paired([small, large])
    assert (result.a, result.b, result.difference) == (0, 0.5, pytest.approx(0.5))
    assert (result.low, result.high) == (0.5, 0.5)  # each benchmark is resampled within itself
    assert result.p == 0.5  # two flips: 2 of 4 patterns


@pytest.mark.parametrize("pairs", [[], [(np.ones(2), np.ones(3))], [(np.ones(0), np.ones(0))]])
def test_a_comparison_needs_pairs(pairs):
    with pytest.raises(ValueError, match="same problems"):
        paired(pairs)


def test_students_interval_by_hand():
    three = estimate([1.0, 2.0, 3.0])  # deviation 1, t(2) = 4.30265, root of 3 = 1.732
    assert three.mean == 2.0 and three.high - 2.0 == pytest.approx(2.0 - three.low) == pytest.approx(2.48414, abs=1e-5)
    one = estimate([5.0])
    assert (one.mean, one.low, one.high) == (5.0, None, None)
    assert str(one) == "5" and str(three) == "2 ± 2.48" and str(estimate([123456.0])) == "123,456"


def test_paired_by_seed_by_hand():
    # Mean .02, deviation .01, standard error .01/sqrt(3): t = 2 sqrt(3) with 2 degrees, p = 1 - t/sqrt(2 + t^2).
    found = paired_by_seed([0.01, 0.02, 0.03])
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert (found.difference.mean, found.difference.low) == pytest.approx((0.02, 0.02 - half), abs=1e-8)
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
