"""Propose and check: what is free decides where the first continuations go."""

import pytest

from tests.core.fakes import play, view_of
from verl_gpo.core.search import propose
from verl_gpo.core.search.propose import ProposeSearch

UNKNOWN = [0.5, *[None] * 7, 1.0]


def unsure_at(*steps, step_tokens=10, total=8):
    """Log-probs of a response that the policy was all but sure of, but for one token in each of ``steps``."""
    log_probs = [-0.001] * (total * step_tokens)
    for step in steps:
        log_probs[step * step_tokens] = -4.0
    return tuple(log_probs)


@pytest.mark.parametrize("step", [1, 4, 7])
def test_the_step_that_the_policy_was_unsure_of_is_checked_with_a_group(step):
    view = view_of(UNKNOWN, unsure_at(step), n_reentry=3)
    assert list(ProposeSearch().next_states(view)) == [step] * 3


def test_the_state_checked_is_the_one_that_is_reset_to():
    view = view_of(UNKNOWN, unsure_at(4), n_reentry=2, reset="after")
    assert list(ProposeSearch().next_states(view)) == [5] * 2


def test_the_prompt_is_never_sampled_again():
    # The root group is the check of step 0, and there is no second proposal while the belief prefers it.
    view = view_of(UNKNOWN, unsure_at(0))
    assert list(ProposeSearch().next_states(view)) == []
    assert ProposeSearch().choose(view).index == 0


def test_a_refuted_proposal_gives_way_to_the_next():
    # The policy was unsure at steps 2 and 5. Only s_5 is worth what s_0 is: s_2 .. s_5 are .5, so step 5 gains.
    curve = [0.5] * 6 + [1.0] * 3
    view = view_of(UNKNOWN, unsure_at(2, 5), n_reentry=8)
    rounds = play(ProposeSearch(), view, curve)
    assert all(states == [states[0]] * 8 for states in rounds) and len(rounds) <= 2
    assert ProposeSearch().choose(view).index == 5


def test_only_a_step_that_was_checked_is_chosen(monkeypatch):
    monkeypatch.setattr(propose, "MAX_PROPOSALS", 1)
    # The policy was unsure at steps 2 and 5, and one check is allowed. It refutes step 2, and step 5 stays unchecked.
    view = view_of(UNKNOWN, unsure_at(2, 5), n_reentry=8)
    (checked,) = play(ProposeSearch(), view, [1.0] * 9)
    critical = ProposeSearch().choose(view)
    assert critical is None or critical.index in (0, checked[0])


def test_without_tokens_for_a_check_the_most_probable_step_is_chosen():
    view = view_of(UNKNOWN, unsure_at(4))
    assert ProposeSearch().choose(view).index == 4


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_proposals_than_allowed(most, monkeypatch):
    monkeypatch.setattr(propose, "MAX_PROPOSALS", most)
    # Values that contradict each other: after each check another step looks best.
    view = view_of([0.0, *[None] * 15, 1.0], n_reentry=4, seed=3)
    rounds = play(ProposeSearch(), view, [0.0] * 8 + [0.5] * 8 + [1.0])
    assert 1 <= len(rounds) <= most
    assert len({states[0] for states in rounds}) == len(rounds)


def test_a_lost_proposal_is_not_repeated():
    view = view_of(UNKNOWN, unsure_at(4))
    assert play(ProposeSearch(), view, [], lost=range(9)) == [[4] * 4]


def test_nothing_is_proposed_where_nothing_can_be_gained():
    # A response that fails, and the policy never could do otherwise: certain of every token.
    view = view_of([0.0, *[None] * 3, 0.0], (0.0,) * 40)
    assert list(ProposeSearch().next_states(view)) == [] and ProposeSearch().choose(view) is None


def test_an_ineligible_step_is_never_proposed():
    view = view_of(UNKNOWN, unsure_at(6), longest=30, seed=1)  # s_3 is the last that can be sampled
    for states in play(ProposeSearch(), view, [0.5] * 7 + [1.0] * 2):
        assert max(states) <= 3
