"""What a search sees of an anchor: one draw of curves for each state of knowledge."""

import random

import numpy as np
import pytest

from tests.core.fakes import play, view_of
from verl_gpo.config import GPOConfig
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.search.adaptive import AdaptiveSearch
from verl_gpo.core.search.view import AnchorView
from verl_gpo.core.types import Trajectory
from verl_gpo.core.values import StateValue, group_value

MEANS = [0.5, None, None, None, 1.0]


def with_value(view, state, value):
    values = list(view.values_K1)
    values[state] = value
    return values


def test_who_plans_and_who_chooses_look_at_the_same_curves():
    view = view_of(MEANS)
    first = view.belief()
    assert view.belief() is first
    view.update(with_value(view, 0, StateValue(0.5, 8)), False)  # as before
    assert view.belief() is first


def test_what_is_learnt_is_believed():
    view = view_of(MEANS)
    before, _ = view.belief()
    view.update(with_value(view, 2, StateValue(0.0, 64)), False)
    after, _ = view.belief()
    assert before[:, 2].mean() > 0.3 and after[:, 2].mean() < 0.1


def test_an_outlier_counts_as_a_failure_and_moves_no_scale():
    # A penalty of -10 in the group: the mean is -2.3, the share of successes what it would be with a 0.
    plain, outlier = view_of(MEANS), view_of(MEANS)
    plain.update(with_value(plain, 0, group_value([1.0, 0.0, 0.0, 0.0])), False)
    outlier.update(with_value(outlier, 0, group_value([1.0, 0.0, 0.0, -10.0])), False)
    assert outlier.values_K1[0].mean == -2.25 and outlier.values_K1[0].share == 0.25
    assert (plain.belief()[0] == outlier.belief()[0]).all()


def test_declared_bounds_are_the_scale():
    curves, _ = view_of([None, None, None, None, 1.0], reward_high=2.0).belief()
    assert (curves[:, -1] == 1.0).all() and curves.max() > 1.0  # half of what could be had


def test_the_response_itself_is_no_draw_at_its_first_state():
    # Its outcome is the end of the curve already. Of a group of two, a right one and a wrong one, one failure is left.
    with_itself, without = view_of(MEANS), view_of(MEANS)
    with_itself.update(with_value(with_itself, 0, group_value([1.0, 0.0])), True)
    without.update(with_value(without, 0, group_value([0.0])), False)
    assert (with_itself.belief()[0] == without.belief()[0]).all()


# Four steps of ten tokens. The policy was sure of the first and the third.
LOG_PROBS = (0.0,) * 10 + (-0.2,) * 10 + (-1e-6,) * 10 + (-0.2,) * 10


@pytest.mark.parametrize("rule", ["argmax", "argmin", "abs"])
def test_a_step_that_the_policy_was_sure_of_is_never_critical(rule):
    view = view_of(MEANS, LOG_PROBS, rule=rule)
    curves, labels = view.belief()
    assert (curves[:, 0] == curves[:, 1]).all() and (curves[:, 2] == curves[:, 3]).all()
    assert set(labels.tolist()) <= {1, 3, 4}
    assert np.bincount(labels, minlength=5)[[1, 3]].sum() > 0


def test_of_states_that_are_worth_the_same_the_last_is_drawn_from():
    view = view_of(MEANS, LOG_PROBS, stop_confidence=1.0, search_budget=24)
    states = {state for states in play(AdaptiveSearch(), view, [0.5, 0.5, 0.7, 0.7, 1.0]) for state in states}
    assert states <= {1, 3} and 3 in states
    # Where the last cannot be sampled, the one before.
    view = view_of(MEANS, LOG_PROBS, stop_confidence=1.0, search_budget=24, longest=20)
    states = {state for states in play(AdaptiveSearch(), view, [0.5, 0.5, 0.7, 0.7, 1.0]) for state in states}
    assert states <= {1, 2} and 2 in states


@pytest.mark.parametrize("search", ["given", "random", "none"])
def test_a_control_makes_no_belief(search, monkeypatch):
    monkeypatch.setattr("verl_gpo.core.search.view.ValueCurve", None)
    view, one = view_of(MEANS), SEARCHES[search]()
    assert list(one.next_states(view)) == []
    one.choose(view)


def test_what_the_environment_did_makes_no_step_critical():
    """The policy was sure of its turn, and the answer to it decides: no step of the policy's is critical."""
    written = (1,) * 4 + (0,) * 4 + (1,) * 4
    config = GPOConfig(search="adaptive", rule="abs", min_advantage=0.1)
    chosen = {}
    for mask in (written, None):
        log_probs = (-0.0001,) * 12 if mask else (-0.7,) * 12
        root = Trajectory(tuple(range(12)), log_probs, 1.0, written=mask)
        view = AnchorView(config, root, (4, 12), 11, 12.0, random.Random(0))
        view.update([StateValue(0.05, 40), StateValue(0.95, 40), StateValue(1.0)], in_first=False)
        chosen[mask] = view.select(by_belief=True)
    assert chosen[written] is None and chosen[None].index == 0


def test_lengths_are_of_what_the_policy_writes_and_prefixes_of_everything():
    root = Trajectory(tuple(range(12)), None, 1.0, written=(1,) * 4 + (0,) * 4 + (1,) * 4)
    view = AnchorView(GPOConfig(), root, (4, 12), 11, 6.0, random.Random(0))
    assert view.starts_K == (0, 8) and view.prefix(1) == tuple(range(8)) and view.prefix_length(1) == 8
    assert view.response_tokens == 8.0 and [view.rollout_tokens(state) for state in (0, 1, 2)] == [8.0, 4.0, 1.0]
    assert not AnchorView(GPOConfig(), root, (4, 12), 7, 6.0, random.Random(0)).can_sample(1)
