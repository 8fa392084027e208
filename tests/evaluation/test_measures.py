"""avg@k, pass@k, maj@k: by hand, by brute force, and what must hold always."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.evaluation.measures import avg_at_k, maj_at_k, pass_at_k

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
