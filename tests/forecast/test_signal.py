"""Signal and noise by hand, and on gradients whose signal and noise are known."""

import math

import numpy as np
import pytest

from verl_gpo.forecast.signal import (
    agreement,
    agreement_interval,
    alignment,
    cosine_at,
    needed_interval,
    ratio_interval,
    tokens_needed,
)


def products(signal, noise, batches, dimensions, seed=0):
    """Of gradients with the mean square ``signal + noise``."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(batches, dimensions)) * math.sqrt(noise / dimensions)
    vectors[:, 0] += math.sqrt(signal)
    return vectors @ vectors.T


def test_agreement_by_hand():
    # Products of two batches: 1, 2, 3, mean 2; squares 4, 5, 6, mean 5.
    assert agreement(np.array([[4.0, 1, 2], [1, 5, 3], [2, 3, 6]])) == pytest.approx(0.4)
    assert math.isnan(agreement(np.zeros((3, 3)))) and math.isnan(agreement(np.ones((1, 1))))


def test_tokens_for_another_cosine():
    # At 100 tokens c = .2 is one part signal and four parts noise: 400 tokens make them equal, 1200 make .75.
    assert tokens_needed(0.2, 100) == pytest.approx(400)
    assert tokens_needed(0.2, 100, 0.75) == pytest.approx(1200)
    assert (
        tokens_needed(1.0, 100) == 0 and math.isinf(tokens_needed(0.0, 100)) and math.isinf(tokens_needed(math.nan, 1))
    )
    assert cosine_at(400, 100) == pytest.approx(0.2) and cosine_at(math.inf, 100) == 0 and cosine_at(0, 100) == 1


def test_the_interval_has_the_true_cosine():
    inside = 0
    for seed in range(40):
        found = agreement_interval(products(1.0, 3.0, 12, 50, seed))
        assert found.low <= found.value <= found.high
        inside += found.low <= 0.25 <= found.high
    assert inside >= 35


def test_more_noise_needs_more_tokens_by_as_much():
    calm, loud = (products(1.0, noise, 60, 200, seed=1) for noise in (1.0, 4.0))
    needed = needed_interval(loud, 10)
    assert needed.low <= 40 <= needed.high
    found = ratio_interval(loud, calm, 10, 10)
    assert found.low < 4 < found.high and found.high < 8
    # Batches of half the tokens with as much noise: half the tokens are needed.
    assert ratio_interval(calm, calm, 5, 10).value == pytest.approx(0.5)


def test_what_cannot_be_said_has_no_bound():
    nothing = np.eye(4)
    assert math.isinf(needed_interval(nothing, 10).value)
    unsure = ratio_interval(nothing, products(1.0, 1.0, 4, 20), 10, 10)
    assert math.isinf(unsure.value) and (unsure.low, unsure.high) == (0, math.inf)
    assert math.isnan(ratio_interval(nothing, nothing, 10, 10).value)
    undefined = ratio_interval(products(1.0, 1.0, 4, 20), nothing, 10, 10)  # and not 0, as if ours were for nothing
    assert math.isnan(undefined.value) and (undefined.low, undefined.high) == (0, math.inf)


def test_alignment():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(8, 40)) * 0.01
    base[:, 0] += 1.0
    turned = rng.normal(size=(8, 40)) * 0.01
    turned[:, 0] += 0.6
    turned[:, 1] += 0.8
    found = alignment(turned @ base.T, turned @ turned.T, base @ base.T)
    assert found == pytest.approx(0.6, abs=0.02)
    assert alignment(base @ base.T, base @ base.T, base @ base.T) == pytest.approx(1.0)
    assert math.isnan(alignment(np.eye(3), np.eye(3), np.ones((3, 3))))
