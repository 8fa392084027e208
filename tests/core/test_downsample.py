"""The rows of largest reward variance: by hand, and against every subset."""

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.core.downsample import most_varied


@pytest.mark.parametrize(
    ("rewards", "count", "kept"),
    [
        ([0, 0, 1, 0, 0, 1], 4, [0, 1, 2, 5]),  # two of each, the first ones
        ([0, 0, 0, 0, 0, 1], 4, [0, 1, 2, 5]),  # the only success, and the first failures
        ([1, 1, 1, 0, 1, 1], 2, [0, 3]),
        ([1, 1, 1, 1], 2, [0, 1]),  # nothing varies: the first
        ([0.5, 0.2, 0.9, 0.4], 2, [1, 2]),
        ([0.5, 0.2, 0.9, 0.4], 3, [1, 2, 3]),
        ([0, 1], 4, [0, 1]),  # there are no more
        ([math.nan, 0, math.nan, 1], 2, [1, 3]),
        ([math.nan, 0, math.nan, 1], 3, [0, 1, 3]),
    ],
)
def test_by_hand(rewards, count, kept):
    assert most_varied(rewards, count) == kept


@settings(max_examples=200)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]), min_size=2, max_size=7), st.integers(2, 6))
def test_no_other_subset_varies_more(rewards, count):
    kept = most_varied(rewards, count)
    assert kept == sorted(set(kept)) and len(kept) == min(count, len(rewards))
    best = max(statistics.pvariance(subset) for subset in itertools.combinations(rewards, len(kept)))
    assert statistics.pvariance([rewards[index] for index in kept]) == pytest.approx(best, abs=1e-9)
