"""Simulated value curves: each kind is what it is called, and its policy has these values."""

import asyncio
import random

import numpy as np
import pytest

from verl_gpo.calibrate.curves import CURVES, TOKENS_PER_STEP, CurvePolicy, simulated_cases


def curves(kind, steps=12, count=40):
    rng = np.random.default_rng(3)
    return [CURVES[kind](steps, rng) for _ in range(count)]


@pytest.mark.parametrize("kind", CURVES)
def test_values_are_probabilities_and_end_in_an_outcome(kind):
    for values in curves(kind):
        assert values.shape == (13,) and (values >= 0).all() and (values <= 1).all()
        assert values[-1] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "moves"), [("one jump", 1), ("one jump and rest", 2), ("several jumps", 3), ("opposing jumps", 3)]
)
def test_as_many_steps_move_the_value_as_the_name_says(kind, moves):
    found = [np.count_nonzero(np.abs(np.diff(values)) > 1e-9) for values in curves(kind)]
    assert max(found) == moves and min(found) >= moves - 1  # two may fall together at the end


def test_opposing_jumps_go_up_down_and_up():
    for values in curves("opposing jumps"):
        moves = np.diff(values)
        signs = np.sign(moves[np.abs(moves) > 1e-9]).tolist()
        assert signs == [1, -1, 1]


def test_of_a_drift_no_step_stands_out_and_a_flat_curve_moves_at_its_end_only():
    for values in curves("drift"):
        assert np.diff(values) == pytest.approx((values[-1] - values[0]) / 12)
    for values in curves("flat"):
        assert (np.diff(values)[:-1] == 0).all() and abs(values[-1] - values[-2]) <= 0.08


def test_the_policy_writes_what_is_left_and_succeeds_as_often_as_the_value_says():
    policy = CurvePolicy(np.array([0.0, 0.25, 1.0]), random.Random(0))
    prefix = tuple(range(TOKENS_PER_STEP))
    drawn = asyncio.run(policy.sample(prefix, 99, 0))
    assert len(drawn.token_ids) == TOKENS_PER_STEP

    def rate(kept):
        return sum(asyncio.run(policy.score(kept, drawn)).reward for _ in range(400)) / 400

    assert rate(()) == 0.0 and 0.18 < rate(prefix) < 0.32


def test_cases_are_seeded_and_whole():
    one, same, other = (simulated_cases("one jump", 4, 5, group=3, seed=seed) for seed in (1, 1, 2))
    assert [case.values for case in one] == [case.values for case in same] != [case.values for case in other]
    for case in one:
        assert case.ends == (10, 20, 30, 40) and len(case.others) == 2 and case.response_length == 41
        assert case.root.reward == case.values[-1] and len(case.root.token_ids) == 40
