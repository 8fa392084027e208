"""The choice of the critical step: by means, by belief, or by chance."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.fakes import view_of
from verl_gpo.core.critical import RULES, best_steps, select_by_belief, select_critical_step

WITH_VALUES = sorted(rule for rule, importance in RULES.items() if importance is not None)

ADVANTAGES = [0.1, -0.6, 0.4, 0.3, math.nan, -0.2]


@pytest.mark.parametrize(("rule", "index"), [("argmax", 2), ("abs", 1), ("argmin", 1)])
def test_rules_by_hand(rule, index):
    critical = select_critical_step(ADVANTAGES, rule)
    assert (critical.index, critical.advantage) == (index, ADVANTAGES[index])


def test_of_equals_any_is_chosen_and_the_same_with_the_same_seed():
    # Of a constant value the first would be chosen nearly half of the time, which is the reset that costs most.
    chosen = [select_critical_step([0.4, 0.1, 0.4, 0.4], "argmax", rng=random.Random(n)).index for n in range(300)]
    assert {index: 60 < chosen.count(index) < 140 for index in (0, 2, 3)} == {0: True, 2: True, 3: True}
    assert chosen == [
        select_critical_step([0.4, 0.1, 0.4, 0.4], "argmax", rng=random.Random(n)).index for n in range(300)
    ]


def test_random_rule_is_uniform_needs_no_values_and_repeats_with_its_seed():
    unknown = [math.nan] * 4
    rng = random.Random(0)
    counts = [0] * 4
    for _ in range(4000):
        counts[select_critical_step(unknown, "random", rng=rng).index] += 1
    assert all(900 < count < 1100 for count in counts)
    first, second = (select_critical_step(unknown, "random", rng=random.Random(7)) for _ in range(2))
    assert first.index == second.index


@pytest.mark.parametrize("rule", WITH_VALUES)
def test_no_critical_step_where_values_never_move(rule):
    assert select_critical_step([0.0, 0.0, 0.0], rule) is None


@pytest.mark.parametrize("rule", sorted(RULES))
def test_no_critical_step_without_steps_or_without_eligible_ones(rule):
    assert select_critical_step([], rule) is None
    assert select_critical_step([0.5, -0.5], rule, eligible_K=[False, False]) is None


@pytest.mark.parametrize("rule", WITH_VALUES)
def test_unknown_advantages_are_never_chosen(rule):
    assert select_critical_step([math.nan, math.nan], rule) is None


@pytest.mark.parametrize(("rule", "index"), [("argmax", 3), ("abs", 5), ("argmin", 5), ("random", 3)])
def test_ineligible_steps_are_never_chosen(rule, index):
    # Without steps 1 and 2 the largest gain is step 3's .4, and step 5's loss of .2 the largest loss. Of the steps that
    # are eligible abs prefers .4 to .2, so it takes 3 away, too.
    eligible = [True, False, False, rule != "abs", False, rule != "random"]
    if rule == "random":
        eligible[0] = False  # one is left
    assert select_critical_step(ADVANTAGES, rule, eligible_K=eligible).index == index


def test_argmax_wants_a_gain_and_argmin_a_loss():
    assert select_critical_step([-0.5, -0.1], "argmax") is None
    assert select_critical_step([0.5, 0.1], "argmin") is None
    assert select_critical_step([0.5, 0.1], "argmax", min_advantage=0.5) is None


# One curve of four steps: A = 0 .25 -.5 .75.
CURVE = np.array([[0.5, 0.5, 0.75, 0.25, 1.0]])
ALL = [True] * 4


def best(rule, eligible=ALL, min_advantage=0.0, curves=CURVE):
    return best_steps(curves, rule, eligible, min_advantage, np.random.default_rng(0)).tolist()


@pytest.mark.parametrize(("rule", "index"), [("argmax", 3), ("abs", 3), ("argmin", 2)])
def test_the_best_step_of_a_curve_by_hand(rule, index):
    assert best(rule) == [index]


def test_a_best_step_is_eligible_and_more_important_than_the_threshold():
    assert best("argmax", [True, True, True, False]) == [1]
    assert best("argmin", [True, True, False, True]) == [4]  # no other step loses: none, which is K
    assert best("argmax", [False] * 4) == [4]
    assert best("argmax", min_advantage=0.74) == [3]
    assert best("argmax", min_advantage=0.75) == [4]  # it has to exceed it
    assert best("argmax", curves=np.full((2, 5), 0.3)) == [4, 4]


def test_ties_are_broken_at_random_and_repeat_with_their_generator():
    # Steps 0 and 1 gain .5 each; the third gains nothing.
    curves = np.tile([0.0, 0.5, 1.0, 1.0], (4000, 1))
    labels = best("argmax", [True] * 3, curves=curves)
    assert 1800 < labels.count(0) < 2200 and labels.count(0) + labels.count(1) == 4000
    assert labels == best("argmax", [True] * 3, curves=curves)


@given(
    st.sampled_from(WITH_VALUES),
    st.lists(st.floats(-3, 3), min_size=2, max_size=12),
    st.floats(0, 1),
    st.data(),
)
def test_a_best_step_is_never_beaten_by_another_eligible_one(rule, values, min_advantage, data):
    eligible = data.draw(st.lists(st.booleans(), min_size=len(values) - 1, max_size=len(values) - 1))
    (label,) = best(rule, eligible, min_advantage, np.array([values]))
    importance = RULES[rule](np.diff(values))
    rivals = [importance[k] for k in range(len(eligible)) if eligible[k]]
    if label == len(eligible):
        assert not rivals or max(rivals) <= min_advantage + 1e-6
    else:
        assert eligible[label] and importance[label] >= max(rivals) - 1e-5 and importance[label] > min_advantage - 1e-5


def test_the_most_probable_step_with_its_share_and_expected_advantage():
    # Of six curves step 0 is best in one, 1 and 2 in two each, none in one: 1 is the first of equals.
    curves = np.array([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=float)
    critical = select_by_belief(np.array([0, 1, 1, 2, 2, 3]), curves)
    assert (critical.index, critical.confidence) == (1, pytest.approx(2 / 6))
    assert critical.advantage == pytest.approx(2 / 6)  # step 1 gains 1 in two of six curves
    assert select_by_belief(np.array([3, 3]), curves[-2:]) is None


def test_the_papers_choice_states_how_sure_it_is():
    # One step of four decides; 1000 draws at each state leave no doubt, none at all leave the choice to chance.
    sure = view_of([0.1, 0.1, 0.1, 1.0, 1.0], count=1000).select(by_belief=False)
    assert sure.index == 2 and sure.advantage == pytest.approx(0.9) and sure.confidence > 0.97
    # Two draws at each state: 1/2 1/2 0 1/2 | 1 has gains of .5 at steps 2 and 3, of which either is chosen.
    unsure = view_of([0.5, 0.5, 0.0, 0.5, 1.0], count=2).select(by_belief=False)
    assert unsure.index in (2, 3) and 0.05 < unsure.confidence < 0.8


@pytest.mark.parametrize("by_belief", [False, True])
def test_an_unsure_choice_is_no_choice(by_belief):
    means = [0.5, 0.5, 0.0, 0.5, 1.0]
    confidence = view_of(means, count=2).select(by_belief).confidence
    assert view_of(means, count=2, min_confidence=confidence).select(by_belief) is not None
    assert view_of(means, count=2, min_confidence=confidence + 0.01).select(by_belief) is None


def test_a_random_choice_is_never_too_unsure():
    critical = view_of([0.5, None, None, 1.0], rule="random", min_confidence=1.0).select(by_belief=True)
    assert critical is not None and math.isnan(critical.confidence)
