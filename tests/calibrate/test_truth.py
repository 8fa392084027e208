"""What is judged by curves that may be the true one, by hand and against simulated continuations."""

import math

import numpy as np
import pytest

from verl_gpo.calibrate.truth import CURVES, Truth, posterior
from verl_gpo.core.values import Bounds

NAN = math.nan


def test_a_known_curve_by_hand():
    truth = Truth(np.array([0.5, 0.5, 0.1, 1.0]))  # advantages 0, -.4, .9
    assert truth.decisive("argmax", 0.2) == truth.decisive("argmin", 0.4) == 1.0
    assert truth.decisive("argmin", 0.5) == 0.0
    assert truth.hit_K("argmax", 0.2, 0.0).tolist() == [0.0, 0.0, 1.0]
    assert truth.hit_K("argmin", 0.2, 0.0).tolist() == [0.0, 1.0, 0.0]
    assert truth.hit_K("abs", 0.2, 0.5).tolist() == [0.0, 1.0, 1.0]  # .4 is within .5 of .9
    assert truth.hit_K("argmin", 0.5, 1.0).tolist() == [0.0, 0.0, 0.0]  # nothing loses .5, so nothing can be hit
    assert truth.regret_K("argmax") == pytest.approx([0.9, 1.3, 0.0])


def test_two_curves_that_are_equally_probable():
    truth = Truth(np.array([[0.5, 1.0, 1.0], [0.5, 0.5, 0.5]]))
    assert truth.decisive("abs", 0.2) == 0.5 and truth.hit_K("abs", 0.2, 0.0).tolist() == [0.5, 0.0]
    assert truth.regret_K("abs") == pytest.approx([0.0, 0.25])


def test_a_state_that_nothing_is_known_of_is_no_hit():
    truth = Truth(np.array([0.5, NAN, 0.2, 1.0]))
    assert truth.hit_K("argmax", 0.2, 0.0).tolist() == [0.0, 0.0, 1.0]


def draws(values, count, seed):
    rng = np.random.default_rng(seed)
    return [list((rng.random(count) < value).astype(float)) for value in values]


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_the_reference_makes_no_step_decisive(seed):
    # V = .02 at all eight states of a failed response: by chance the means of 32 differ by several hundredths.
    ends = range(10, 81, 10)
    rewards = draws([0.02] * 8, 32, seed)
    truth = Truth(posterior(ends, 0.0, rewards))
    assert truth.decisive("abs", 0.2) < 0.05
    jump = Truth(posterior(ends, 1.0, draws([0.3] * 4 + [0.9] * 4, 32, seed)))
    assert jump.decisive("abs", 0.2) > 0.95 and jump.hit_K("abs", 0.2, 0.05).argmax() == 3


def test_the_posterior_is_in_units_of_the_reward_and_repeats_with_its_seed():
    rewards = [[-1.0] * 30, [-1.0] * 30, [3.0] * 30]
    curves = posterior((2, 4, 6), 3.0, rewards, Bounds(-1.0, 3.0), seed=1)
    assert curves.shape == (CURVES, 4) and curves.min() >= -1.0 and (curves[:, -1] == 3.0).all()
    assert curves.mean(axis=0) == pytest.approx([-1.0, -1.0, 3.0, 3.0], abs=0.3)
    assert (posterior((2, 4, 6), 3.0, rewards, Bounds(-1.0, 3.0), seed=1) == curves).all()


def test_a_state_without_continuations_leaves_its_neighbours_to_speak():
    curves = posterior((2, 4, 6), 1.0, [[0.0] * 40, [], [1.0] * 40])
    middle = curves[:, 1]
    assert 0.1 < middle.mean() < 0.9 and middle.std() > 0.2  # either step may be the one that gains
