"""The authors' own search: the starts of all steps in order, some at once, until one state is as good as solved."""

import pytest

from tests.core.fakes import FakePolicy, play, root, run, view_of
from verl_gpo.core.search.highest import HighestMean
from verl_gpo.core.values import StateValue

UNKNOWN = [0.0, None, None, None, None, None, 0.0]


def explored(view, curve):
    """Rounds of a search in which the prompt, too, answers with what is drawn there."""
    rounds = []
    while states := list(HighestMean().next_states(view)):
        rounds.append(sorted(set(states)))
        assert all(states.count(state) == view.config.n_mc for state in states)
        values = list(view.values_K1)
        for state in set(states):
            view.requested_K[state] += view.config.n_mc
            values[state] = StateValue(curve[state], view.config.n_mc)
        view.update(values, False)
    return rounds


def test_four_states_at_once_the_prompt_included():
    view = view_of(UNKNOWN, search="highest", n_mc=4, solved_reward=1.0)
    assert explored(view, [0.0, 0.0, 0.25, 0.5, 0.25, 0.5]) == [[0, 1, 2, 3], [4, 5]]
    critical = HighestMean().choose(view)
    assert critical.index == 3 and critical.advantage != critical.advantage  # the first of equals, and no difference


def test_it_stops_after_the_round_in_which_a_mean_is_that_of_a_solved_response():
    view = view_of(UNKNOWN, search="highest", solved_reward=1.0, states_at_once=2)
    assert explored(view, [0.0, 0.0, 0.5, 1.0, 0.0, 0.0]) == [[0, 1], [2, 3]]
    assert HighestMean().choose(view).index == 3


def test_where_nothing_succeeds_nothing_is_chosen():
    view = view_of(UNKNOWN, search="highest")
    explored(view, [0.0] * 6)
    assert HighestMean().choose(view) is None
    assert HighestMean().choose(view_of(UNKNOWN, search="highest")) is None  # nothing was drawn


def test_the_group_s_mean_at_the_prompt_is_not_what_was_drawn_there():
    # The other roots succeed half the time; the continuations of the prompt decide, and they all fail.
    view = view_of([0.5, *[None] * 5, 0.0], search="highest", states_at_once=6)
    explored(view, [0.0, 0.0, 0.25, 0.0, 0.0, 0.0])
    assert HighestMean().choose(view).index == 2


def test_a_reset_after_the_step_is_a_reset_to_the_best_state_all_the_same():
    view = view_of(UNKNOWN, search="highest", states_at_once=6, reset="after")
    explored(view, [1.0, 0.0, 0.25, 0.75, 0.5, 0.0])
    critical = HighestMean().choose(view)
    assert critical.index == 2 and view.reset_state(critical.index) == 3  # no step is before the prompt's state


def test_states_beyond_the_response_length_are_left_out():
    view = view_of(UNKNOWN, search="highest", longest=20, states_at_once=6)
    assert explored(view, [0.0] * 6) == [[0, 1, 2]]


def test_a_lost_state_is_not_asked_again():
    view = view_of(UNKNOWN, search="highest", n_mc=1)
    assert play(HighestMean(), view, [0.0] * 7, lost={1, 2}) == [[0, 1, 2, 3], [4, 5]]


def test_through_the_procedure_the_best_continuation_of_the_best_state():
    # Steps of two tokens; the prompt fails, s_1 succeeds once of two, s_2 never, s_3 once of two.
    policy = FakePolicy({0: [0], 2: [0, 0.5], 4: [0], 6: [0, 0.5]})
    settings = {"search": "highest", "learn_from": "best", "rows": "replaced", "n_reentry": 1, "n_mc": 2}
    result = run(policy, [root(reward=0.0), root(reward=1.0, first=50)], **settings, solved_reward=1.0)
    (reentry,) = result.reentries
    assert policy.asked() == {0: 2, 2: 2, 4: 2, 6: 2}
    assert [value.mean for value in reentry.values] == [0.0, 0.25, 0.0, 0.25, 0.0]
    ((group,),) = [reentry.groups]
    assert (group.state, group.prefix, [r.reward for r in group.rollouts], group.critical) == (1, (0, 1), [0.5], True)
    assert result.usage["reentry"].requests == 0


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 3), (1e-9, 1), (60.0, 3)])
def test_a_limit_on_the_time_ends_it_after_a_round(seconds, rounds):
    policy = FakePolicy({n: [0.25] for n in range(0, 12, 2)})
    settings = {"search": "highest", "learn_from": "best", "rows": "replaced", "n_reentry": 1, "n_mc": 1}
    roots = [root(tokens=12, reward=0.0), root(reward=1.0, first=50)]
    run(policy, roots, **settings, states_at_once=2, search_seconds=seconds)
    # The first round begins within a nanosecond or not at all; without a limit there are three rounds of two states.
    assert len(policy.requests) in ((2 * rounds,) if seconds != 1e-9 else (0, 2))
