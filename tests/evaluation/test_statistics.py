"""avg@k, pass@k, maj@k, intervals and tests: by hand, by brute force, and what must hold always."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.evaluation.statistics import (
    avg_at_k,
    bootstrap_interval,
    maj_at_k,
    paired,
    pass_at_k,
    sign_flip_p,
)

COUNTS = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def test_pass_at_k_by_hand():
    # 1 - C(3, 2) / C(4, 2) = 1 - 3/6; 1 - C(2, 2) / C(4, 2) = 1 - 1/6; no two of one wrong sample.
    assert pass_at_k([0, 1, 2, 3, 4], 4, 2) == pytest.approx([0, 1 / 2, 5 / 6, 1, 1])


@given(COUNTS)
def test_pass_at_k_is_the_formula_begins_at_the_mean_and_never_falls(count):
    n, c = count
    values = [pass_at_k([c], n, k)[0] for k in range(1, n + 1)]
    assert values == pytest.approx([1 - math.comb(n - c, k) / math.comb(n, k) for k in range(1, n + 1)])
    assert values[0] == pytest.approx(c / n)
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(values))
    assert values[-1] == pytest.approx(float(c > 0))


def test_pass_at_k_is_stable_where_binomials_overflow():
    # One of 4000: k / n exactly.
    assert pass_at_k([1], 4000, 1500)[0] == pytest.approx(1500 / 4000)


@pytest.mark.parametrize(("right", "k"), [([1], 0), ([1], 5), ([5], 2), ([-1], 2)])
def test_pass_at_k_refuses_what_cannot_be(right, k):
    with pytest.raises(ValueError, match="must be from"):
        pass_at_k(right, 4, k)


def test_avg_at_k_is_the_mean_of_each_problem():
    assert avg_at_k([[1, 0, 0, 1], [1, 1, 1, 1]]).tolist() == [0.5, 1.0]


def test_maj_at_k_by_hand():
    votes = [[0, 0, 1, 2], [0, 0, 1, 1], [-1, -1, -1, 0], [-1, -1, -1, -1], [0, 1, 2, 3]]
    right = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    # Most votes; a tie of two; no answer is no vote; no vote at all; a tie of four.
    assert maj_at_k(votes, right, 4).tolist() == [1.0, 0.5, 1.0, 0.0, 0.25]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_maj_at_k_of_subsets_is_near_the_mean_over_all_of_them(k):
    votes, right = np.array([0, 0, 1, 1, -1, 2]), np.array([1, 1, 0, 0, 0, 0])
    exact = [
        maj_at_k(votes[None, list(subset)], right[None, list(subset)], k)[0]
        for subset in itertools.combinations(range(6), k)
    ]
    # 1000 draws: a standard error below .016.
    assert maj_at_k(votes[None], right[None], k)[0] == pytest.approx(np.mean(exact), abs=0.06)
    assert maj_at_k(votes[None], right[None], k)[0] == maj_at_k(votes[None], right[None], k)[0]


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=8), st.integers(0, 3))
def test_maj_at_1_is_the_mean_and_maj_is_a_probability(votes, gold):
    votes_PN = np.array([votes])
    right_PN = (votes_PN == gold).astype(float)
    for k in range(1, len(votes) + 1):
        assert 0.0 <= maj_at_k(votes_PN, right_PN, k, draws=50)[0] <= 1.0
    assert maj_at_k(votes_PN[:, :1], right_PN[:, :1], 1)[0] == right_PN[0, 0]


def test_maj_at_k_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="must be from 1 to the 2"):
        maj_at_k([[0, 1]], [[0, 1]], 3)


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
