"""The belief about value curves: exact against enumeration, bounded by the log-probs, and never out of its mind."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.core.curve import GRID, ValueCurve, jump_probabilities, step_uncertainty

CELL = GRID[1] - GRID[0]


def draw(curve, successes, counts, size=64, seed=0):
    return curve.sample(np.array(successes, float), np.array(counts, float), size, np.random.default_rng(seed))


def enumerate_posterior(curve, outcome, successes, counts):
    """Probability of every curve on the grid, by the definition: prior of the chain times the evidence."""
    steps = len(successes)
    kernels = iter(curve._kernels_LGG)
    kernels_KGG = [next(kernels) if moves else np.eye(len(GRID)) for moves in curve.moves_K]
    theta, other = np.clip(GRID, 0.004, 1.0), np.clip(1.0 - GRID, 0.004, 1.0)
    joint = np.zeros((len(GRID),) * steps)
    for cells in itertools.product(range(len(GRID)), repeat=steps):
        path = [*cells, outcome]
        weight = 1.0
        for k in range(steps):
            weight *= kernels_KGG[k][path[k + 1], path[k]]
            weight *= theta[path[k]] ** successes[k] * other[path[k]] ** (counts[k] - successes[k])
        joint[cells] = weight
    return joint / joint.sum()


@pytest.mark.parametrize(
    ("outcome", "successes", "counts", "log_probs"),
    [
        (1.0, (4, 0), (8, 4), None),
        (0.0, (6, 0), (8, 0), None),
        (1.0, (2, 1), (8, 2), (-0.3, -0.1, -0.02, -0.05)),
        (0.5, (2, 0, 2.5), (4, 1, 4), (-1.0, -0.5, -0.001, -0.002, -3.0, -0.1)),
        # Steps that are as good as sure: between two links, at the start, and at the end.
        (1.0, (3, 1, 3), (8, 4, 4), (-1.0, -0.5, 0.0, -0.0001, -0.3, -0.1)),
        (0.0, (3, 1, 3), (4, 4, 4), (-0.0001, 0.0, -1.0, -0.5, 0.0, 0.0)),
    ],
)
def test_samples_follow_the_exact_posterior(outcome, successes, counts, log_probs):
    steps, size = len(counts), 20_000
    curve = ValueCurve(range(2, 2 * steps + 1, 2), outcome, log_probs)
    joint = enumerate_posterior(curve, int(np.argmin(np.abs(GRID - outcome))), successes, counts)
    samples = draw(curve, successes, counts, size)
    cells = np.rint(samples * (len(GRID) - 1)).astype(int)
    # Monte Carlo error of a probability from 20 000 draws: at most .0035, four of them .015.
    for k in range(steps):
        marginal = joint.sum(axis=tuple(j for j in range(steps) if j != k))
        assert np.abs(np.bincount(cells[:, k], minlength=len(GRID)) / size - marginal).max() < 0.015
    # Neighbours together, not only each by itself: the probability that the value rises over step 0.
    pair = joint.sum(axis=tuple(range(2, steps)))
    rises = np.triu(np.ones_like(pair), k=1)
    assert (samples[:, 1] > samples[:, 0]).mean() == pytest.approx(float((pair * rises).sum()), abs=0.015)


def test_step_uncertainty_by_hand():
    # Step 0: probabilities .5 and .5, two halves of a fork, .25 as a whole; step 1: certain.
    forks, sure = step_uncertainty([2, 3], [math.log(0.5), math.log(0.5), 0.0])
    assert forks.tolist() == pytest.approx([1.0, 0.0]) and sure.tolist() == pytest.approx([0.25, 1.0])
    assert [part.tolist() for part in step_uncertainty([2, 3], None)] == [[1.0, 1.0], [0.0, 0.0]]
    assert [part.tolist() for part in step_uncertainty([], [])] == [[], []]


def test_without_log_probs_every_step_is_equally_likely_to_move_the_value():
    # However long: steps of 3, 1, 46 and 40 tokens.
    kernels = ValueCurve([3, 4, 50, 90], 1.0)._kernels_LGG
    assert all(np.array_equal(kernel, kernels[0]) for kernel in kernels[1:])


def test_a_jump_is_sought_where_the_policy_was_unsure():
    # Four steps of one token; the policy was sure of all but the third.
    log_probs = [math.log(p) for p in (0.99, 0.99, 0.3, 0.99)]
    samples = draw(ValueCurve([1, 2, 3, 4], 1.0, log_probs), [4, 0, 0, 0], [8, 0, 0, 0], 2000)
    shares = np.bincount(np.diff(samples, axis=1).argmax(axis=1), minlength=4) / 2000
    assert shares[2] > 0.9


def test_a_kernel_is_a_probability_of_the_value_before():
    # The step probabilities 1 (certain, so no link of the chain), .9, a millionth, and just not certain enough.
    curve = ValueCurve([1, 2, 3, 4], 1.0, [0.0, math.log(0.9), math.log(1e-6), math.log(0.9989)])
    assert curve.moves_K.tolist() == [False, True, True, True]
    kernels = curve._kernels_LGG
    assert (kernels >= 0).all()
    assert np.allclose(kernels.sum(axis=2), 1.0)


@pytest.mark.parametrize(("steps", "expected"), [(1, 0.75), (3, 2.25), (4, 2.75), (8, 2.75), (64, 2.75)])
def test_as_many_jumps_are_expected_as_stated(steps, expected):
    assert jump_probabilities(np.full(steps, 1 / steps)).sum() == pytest.approx(expected)
    assert (jump_probabilities(np.eye(steps)[0]) == [0.9 if steps > 1 else 0.75, *[0.0] * (steps - 1)]).all()
    assert jump_probabilities(np.empty(0)).shape == (0,)


def test_a_kernel_by_hand():
    # A step of probability 1/2. From V' = 1 a jump leads to 1/2 where every other way fails, else to anything from 1/2
    # to 1: half of the cell at 1/2, a whole cell 15 times, and the cell at 1, which is half a cell wide.
    (kernel,) = ValueCurve([1], 1.0, [math.log(0.5)])._kernels_LGG
    jump = 0.75  # more are expected, but at most three of four steps, and this is the only one
    anything = np.array([0.0] * 16 + [0.5] + [1.0] * 15 + [0.5]) / 16
    nothing = np.eye(33)[16]
    stays = np.array([0.0] * 31 + [0.05, 0.9]) / 0.95  # a tenth drifts, half of it off the grid
    assert kernel[32] == pytest.approx((1 - jump) * stays + jump * (0.3 * nothing + 0.7 * anything))


def test_steps_that_are_left_out_of_the_chain_would_have_changed_nothing(monkeypatch):
    """Where the policy was sure of most steps, against the chain that has them all."""
    log_probs = [-0.0004, -1e-6, -1.5, -0.0004, -0.0008, -0.7, -1e-5, -0.0002]
    evidence = [3, 0, 0, 1, 0, 0, 3, 0], [8, 0, 0, 4, 0, 0, 4, 0]
    curve = ValueCurve(range(1, 9), 1.0, log_probs)
    assert curve.moves_K.tolist() == [False, False, True, False, False, True, False, False]
    monkeypatch.setattr("verl_gpo.core.curve._LEAST_MOVE", 0.0)
    whole = ValueCurve(range(1, 9), 1.0, log_probs)
    assert whole.moves_K.all()
    one, other = (draw(c, *evidence, 20_000) for c in (curve, whole))
    assert np.abs(one.mean(axis=0) - other.mean(axis=0)).max() < 0.01
    best, best_of_all = (np.bincount(np.diff(x, axis=1).argmax(axis=1), minlength=8) / 20_000 for x in (one, other))
    assert np.abs(best - best_of_all).max() < 0.015


LOG_PROBS = st.lists(st.one_of(st.just(0.0), st.floats(-1e-3, 0.0), st.floats(-8.0, 0.0)), min_size=1, max_size=12)


@settings(max_examples=60)
@given(LOG_PROBS, st.floats(0, 1), st.integers(0, 16), st.data())
def test_no_step_moves_the_value_further_than_its_probability_allows(log_probs, outcome, most, data):
    steps = len(log_probs)
    counts = np.array(data.draw(st.lists(st.integers(0, most), min_size=steps, max_size=steps)), float)
    shares = np.array(data.draw(st.lists(st.floats(0, 1), min_size=steps, max_size=steps)))
    samples = draw(ValueCurve(range(1, steps + 1), outcome, log_probs), counts * shares, counts)
    bound = 1.0 - np.exp(log_probs)
    assert (np.abs(np.diff(samples, axis=1)) <= bound + CELL + 1e-9).all()
    assert samples.shape == (64, steps + 1) and (samples >= 0).all() and (samples <= 1).all()


def test_a_certain_step_never_moves_the_value():
    samples = draw(ValueCurve([2, 4], 1.0, [-1.0, -1.0, 0.0, 0.0]), [4, 1], [8, 4])
    assert (samples[:, 1] == samples[:, 2]).all()


@pytest.mark.parametrize(("outcome", "cell"), [(0.0, 0.0), (1.0, 1.0), (0.3, 0.3125), (0.33, 0.34375)])
def test_curves_end_at_the_outcome(outcome, cell):
    # The grid's points are multiples of 1/32 = .03125: 10/32 = .3125 is nearest to .3 and 11/32 to .33.
    samples = draw(ValueCurve([1, 2], outcome), [0, 3], [4, 4])
    assert (samples[:, -1] == cell).all()


def test_the_same_generator_gives_the_same_curves():
    curve = ValueCurve([1, 2, 3], 1.0)
    first, again, other = (draw(curve, [4, 1, 0], [8, 2, 0], seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("count", [1, 8, 64, 1000])
@pytest.mark.parametrize("log_probs", [None, (-1.0,) * 4, (0.0, -1e-4, 0.0, -2.0), (0.0,) * 4], ids=str)
@pytest.mark.filterwarnings("error")
def test_extreme_and_contradictory_evidence_leaves_a_bounded_curve(count, log_probs):
    bound = 1.0 - np.exp(log_probs if log_probs else [-np.inf] * 4)
    for outcome in (0.0, 1.0):
        curve = ValueCurve([1, 2, 3, 4], outcome, log_probs)
        for shares in ((0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 1, 0)):
            samples = draw(curve, np.multiply(shares, count), [count] * 4, 16)
            assert np.isfinite(samples).all()
            assert (np.abs(np.diff(samples, axis=1)) <= bound + CELL + 1e-9).all()


def test_much_evidence_wins_over_the_prior():
    samples = draw(ValueCurve([1, 2, 3], 1.0), [500, 500, 0], [1000, 1000, 1000], 200)
    assert samples.mean(axis=0).tolist() == pytest.approx([0.5, 0.5, 0.0, 1.0], abs=0.04)


def test_a_response_without_steps_has_a_curve_of_its_outcome_alone():
    assert draw(ValueCurve([], 1.0, []), [], [], 3).tolist() == [[1.0]] * 3


# ---------------------------------------------------------------------------------------------- with an environment


#: Two turns of two tokens with an answer of two in between.
TURNS = (1, 1, 0, 0, 1, 1)


def test_an_environments_tokens_are_no_uncertainty_of_the_policy():
    # The log-probs at the answer's tokens, whatever they are, do not count.
    half = math.log(0.5)
    log_probs = [half, 0.0, -5.0, -7.0, half, half]
    forks, sure = step_uncertainty([2, 6], log_probs, TURNS)
    assert forks.tolist() == [0.5, 1.0] and sure == pytest.approx([0.5, 0.25])


def test_an_answer_is_a_link_that_only_the_environment_moves():
    # The policy was sure of both turns: without the answer all states are one, and no evidence tells them apart.
    sure = [0.0] * 6
    alone, answered = ValueCurve([2, 6], 1.0, sure), ValueCurve([2, 6], 1.0, sure, TURNS)
    assert len(alone._kernels_LGG) == 0 and len(answered._kernels_LGG) == 1
    assert answered.moves_K.tolist() == [False, False] and answered.differs_K.tolist() == [True, False]
    # 40 failures before the answer, 40 successes behind it.
    successes, counts, rng = np.array([0.0, 40.0]), np.array([40.0, 40.0]), np.random.default_rng(0)
    curves, moved = answered.sample_apart(successes, counts, 400, rng)
    assert curves[:, 0].mean() < 0.1 and curves[:, 1].mean() > 0.9
    # The whole difference is the environment's, and nothing of it the step's advantage.
    assert moved[:, 0] == pytest.approx(curves[:, 1] - curves[:, 0]) and not moved[:, 1].any()


def test_a_steps_own_part_of_a_difference_stays_bounded_by_its_log_probs():
    # p = .9 for the first turn: it can change the value by .1 at most, and a cell of the grid is 1/32.
    log_probs = [math.log(0.9), 0.0, 0.0, 0.0, 0.0, 0.0]
    curve = ValueCurve([2, 6], 1.0, log_probs, TURNS)
    rng = np.random.default_rng(1)
    curves, moved = curve.sample_apart(np.array([0.0, 30.0]), np.array([30.0, 30.0]), 500, rng)
    own = curves[:, 1] - curves[:, 0] - moved[:, 0]
    assert abs(own).max() <= 0.1 + 1 / 32 and abs(moved[:, 0]).mean() > 0.7


def test_without_an_answer_a_mask_changes_nothing():
    log_probs = [-0.4, -0.2, -0.9]
    one, other = ValueCurve([1, 3], 0.0, log_probs), ValueCurve([1, 3], 0.0, log_probs, (1, 1, 1))
    drawn = [draw(curve, [1, 0], [4, 2], 50) for curve in (one, other)]
    assert np.array_equal(*drawn)
    assert other.sample_apart(np.zeros(2), np.zeros(2), 3, np.random.default_rng(0))[1] is None
