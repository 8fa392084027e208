"""Informative: where a group is expected to teach most for its tokens, by what is free."""

import math

import numpy as np
import pytest

from tests.core.fakes import view_of
from tests.core.search.test_propose import UNKNOWN, unsure_at
from verl_gpo.core.search.informative import InformativeState, information_per_token


def chosen(view):
    critical = InformativeState().choose(view)
    return None if critical is None else view.reset_state(critical.index)


def test_the_score_by_hand():
    # Three steps of ten tokens. One token each of steps 1 and 2 was written with probability 1/2 and 1/4; of two curves
    # that are believed in one is (.5, .5, 0) and one (.5, .5, 1). Eight roots of 30 tokens, groups of two.
    log_probs = [0.0] * 30
    log_probs[10], log_probs[20] = math.log(0.5), math.log(0.25)
    view = view_of([0.5, None, None, 1.0], tuple(log_probs), n_reentry=2)
    view._belief = np.array([[0.5, 0.5, 0.0, 1.0], [0.5, 0.5, 1.0, 1.0]]), np.array([1, 1])
    forks = [0.5 + 0.75, 0.5 + 0.75, 0.75]
    mixed = [0.5, 0.5, 0.0]  # two of a kind with probability V^2 + (1 - V)^2
    tokens = [240 + 2 * 30, 240 + 2 * 20, 240 + 2 * 10]
    assert information_per_token(view) == pytest.approx(
        [m * f / t for m, f, t in zip(mixed, forks, tokens, strict=True)]
    )
    assert chosen(view) == 1
    # In units of another reward the values are the same shares of its range.
    scaled = view_of([0.0, None, None, 1.0], tuple(log_probs), n_reentry=2, reward_low=-1.0, reward_high=1.0)
    scaled._belief = 2 * view._belief[0] - 1, view._belief[1]
    assert information_per_token(scaled) == pytest.approx(information_per_token(view))


@pytest.mark.parametrize("outcome", [0.0, 1.0])
@pytest.mark.parametrize("fork", [1, 4, 7])
def test_what_all_rollouts_share_is_not_drawn_again(fork, outcome):
    assert chosen(view_of([0.5, *[None] * 7, outcome], unsure_at(fork))) == fork


def test_a_response_that_is_open_from_its_start_is_not_entered_again():
    assert chosen(view_of(UNKNOWN, unsure_at(0))) is None
    assert chosen(view_of(UNKNOWN, unsure_at(*range(8)))) is None


def test_behind_a_stroke_of_luck_there_is_more_to_learn():
    # No other root got it right: a group from before the first fork would fail as a whole, one from behind it is open.
    forks = unsure_at(1, 7)
    assert chosen(view_of([1 / 32, *[None] * 7, 1.0], forks, count=32, n_reentry=2)) > 1
    assert chosen(view_of([0.5, *[None] * 7, 1.0], forks, count=32, n_reentry=2)) == 1


def test_dear_roots_make_up_for_a_dear_state():
    # Two late forks of three are half as dear as all three. With one root that decides, with many it does not.
    forks = tuple(math.log(0.5) if token in (10, 60, 70) else 0.0 for token in range(80))
    few, many = (view_of([0.5, *[None] * 7, 1.0], forks, count=count, n_reentry=8) for count in (1, 1000))
    for view in (few, many):
        view._belief = np.array([[0.5] * 8 + [1.0]]), np.array([1])
    assert (chosen(few), chosen(many)) == (6, 1)


def test_only_states_that_may_be_reset_to():
    assert chosen(view_of(UNKNOWN, unsure_at(4), longest=30)) == 3
    assert chosen(view_of(UNKNOWN, unsure_at(4), reset="after")) == 4
    assert chosen(view_of(UNKNOWN, unsure_at(4), longest=-1)) is None


def test_without_log_probs_all_steps_are_alike():
    # Nothing is known to be shared, so whole rollouts teach most.
    assert chosen(view_of(UNKNOWN)) is None
