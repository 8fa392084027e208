"""Bisection on curves made by hand."""

import math

import pytest

from tests.core.fakes import play, view_of
from verl_gpo.core.search.bisection import BisectionSearch


def search(curve, lost=(), **settings):
    unknown = [curve[0], *[None] * (len(curve) - 2), curve[-1]]
    view = view_of(unknown, count=1000, **settings)
    rounds = play(BisectionSearch(), view, curve, lost)
    return [states[0] for states in rounds], BisectionSearch().choose(view), rounds


def test_it_goes_where_the_gain_is():
    # The jump is step 5. Between 0 and 8: s_4 has .2 (0 before, .8 behind), s_6 has 1 (.8 before), s_5 .2 (.8 behind).
    visited, critical, rounds = search([0.2] * 6 + [1.0] * 3, n_mc=3)
    assert visited == [4, 6, 5]
    assert critical.index == 5
    assert rounds[0] == [4, 4, 4]


@pytest.mark.parametrize("jump", range(16))
def test_one_jump_is_found_in_log_k_states(jump):
    visited, critical, _ = search([0.1] * (jump + 1) + [1.0] * (16 - jump))
    assert critical.index == jump
    assert len(visited) == math.log2(16)


def test_opposing_jumps_mislead_it():
    # The largest gain, .7, is step 0; its loss at step 2 hides it from s_4, where nothing seems to have happened.
    curve = [0.2, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2, 0.5, 0.5]
    visited, critical, _ = search(curve)
    assert visited == [4, 6, 7] and critical.index == 6


@pytest.mark.parametrize(("rule", "index"), [("argmax", 1), ("abs", 5), ("argmin", 5)])
def test_it_looks_for_what_the_rule_does(rule, index):
    # Step 1 gains .4, step 5 loses .7.
    assert search([0.4, 0.4, 0.8, 0.8, 0.8, 0.8, 0.1, 0.1, 0.1], rule=rule)[1].index == index


def test_it_stops_where_everything_is_lost():
    visited, _, _ = search([0.2] * 6 + [1.0] * 3, lost={6})
    assert visited == [4, 6]


def test_states_over_the_prefix_budget_are_never_visited():
    # s_k keeps 10 k tokens, so s_3 is the last, and the outcome stands in for what is behind it. s_2 and s_3 are worth
    # .2 and the outcome is 1, so the gain is behind either, and then nothing is left.
    visited, critical, _ = search([0.2] * 6 + [1.0] * 3, longest=30)
    assert visited == [2, 3]
    assert critical is None  # what is between s_3 and the end is not known step by step


@pytest.mark.parametrize("steps", [1, 2])
def test_short_responses(steps):
    visited, critical, _ = search([0.0] * steps + [1.0])
    assert visited == [1][: steps - 1] and critical.index == steps - 1
