"""The paper's search: every inner state, once."""

from tests.core.fakes import play, view_of
from verl_gpo.core.search.uniform import UniformSearch

UNKNOWN = [0.5, None, None, None, 1.0]


def test_all_inner_states_at_once():
    view = view_of(UNKNOWN, n_mc=2)
    assert play(UniformSearch(), view, [0.5, 0.5, 0.5, 1.0, 1.0]) == [[1, 1, 2, 2, 3, 3]]


def test_nothing_is_asked_twice_even_if_everything_is_lost():
    assert play(UniformSearch(), view_of(UNKNOWN, n_mc=1), [], lost={1, 2, 3}) == [[1, 2, 3]]


def test_states_over_the_prefix_budget_are_left_out():
    # s_k keeps 10 k tokens.
    assert UniformSearch().next_states(view_of(UNKNOWN, longest=20, n_mc=1)) == [1, 2]
    assert UniformSearch().next_states(view_of(UNKNOWN, longest=9, n_mc=1)) == []


def test_after_a_reset_behind_the_step_the_end_is_no_reset_state():
    view = view_of(UNKNOWN, n_mc=1, reset="after")
    assert view.eligible_K == [True, True, True, False]
    assert UniformSearch().next_states(view) == [1, 2, 3]


def test_one_step_has_no_inner_state():
    assert UniformSearch().next_states(view_of([0.5, 1.0])) == []


def test_the_choice_is_the_papers_or_the_beliefs():
    # Steps 1 and 3 gain .5 each: of equals the paper's choice takes either, at random, and so does the belief, which
    # knows it for a toss-up.
    means = [0.0, 0.0, 0.5, 0.5, 1.0]
    papers = [UniformSearch().choose(view_of(means, count=1000, seed=seed)) for seed in range(40)]
    assert {choice.advantage for choice in papers} == {0.5}
    assert 10 <= sum(choice.index == 1 for choice in papers) <= 30 and {choice.index for choice in papers} == {1, 3}
    curve = UniformSearch().choose(view_of(means, count=1000, value_model="curve"))
    assert curve.index in (1, 3) and 0.4 <= curve.confidence <= 0.7
