"""The controls, and what all searches have in common."""

from collections import Counter

import pytest

from tests.core.fakes import play, view_of
from verl_gpo.core.search import SEARCHES

UNKNOWN = [0.5, None, None, None, 1.0]


@pytest.mark.parametrize("search", ["given", "random", "none"])
def test_a_control_draws_nothing(search):
    assert list(SEARCHES[search]().next_states(view_of(UNKNOWN))) == []


def test_no_search_chooses_nothing():
    assert SEARCHES["none"]().choose(view_of([0.0, 0.0, 1.0, 1.0])) is None


def test_a_random_step_is_any_eligible_one_whatever_the_values_and_the_rule():
    chosen = Counter()
    for seed in range(400):
        view = view_of(UNKNOWN, seed=seed, longest=20, rule="argmin", min_advantage=0.9)  # s_0, s_1 and s_2
        chosen[SEARCHES["random"]().choose(view).index] += 1
    assert set(chosen) == {0, 1, 2} and min(chosen.values()) > 90


def test_a_given_step_is_any_of_those_that_the_data_set_names_and_may_be_reset_to():
    chosen = Counter()
    for seed in range(200):
        view = view_of(UNKNOWN, seed=seed, longest=20)  # s_0, s_1 and s_2
        view.given = frozenset({1, 2, 3, 77})
        chosen[SEARCHES["given"]().choose(view).index] += 1
    assert set(chosen) == {1, 2} and min(chosen.values()) > 60
    assert SEARCHES["given"]().choose(view_of(UNKNOWN)) is None


@pytest.mark.parametrize("rule", ["argmax", "abs", "argmin", "random"])
@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_ends_and_chooses_an_eligible_step_or_none_by_every_rule(search, rule):
    curve = [0.3, 0.3, 0.9, 0.2, 0.2, 0.8, 1.0]
    view = view_of([0.3, *[None] * 5, 1.0], rule=rule, longest=40, n_mc=4)
    one = SEARCHES[search]()
    rounds = play(one, view, curve)
    assert all(view.can_sample(state) for states in rounds for state in states)
    critical = one.choose(view)
    assert critical is None or view.eligible_K[critical.index]
    # Bisection may look in the wrong half, a proposal alone may leave "none" more probable than any step, and where no
    # step is surer than another whole rollouts teach most.
    assert critical is not None or search in (
        *("none", "informative", "given", "bisection", "propose", "tool_entropy"),
    )


@pytest.mark.parametrize("search", SEARCHES)
def test_no_search_draws_at_the_prompt_or_the_end_or_where_nothing_may_be_critical(search):
    one = SEARCHES[search]()
    # A group of two, whose value is all but unknown, and every continuation at the same cost.
    settings = {"stop_confidence": 1.0, "max_continuation_tokens": 1, "count": 2, "n_mc": 8}
    for curve in ([1.0, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0], [0.5, 1.0]):
        view = view_of([curve[0], *[None] * (len(curve) - 2), curve[-1]], min_advantage=0.3, **settings)
        drawn = {state for states in play(one, view, curve) for state in states}
        assert drawn <= set(range(0 if one.draws_at_prompt else 1, len(curve) - 1))
    nowhere = view_of(UNKNOWN, longest=-1)
    assert not any(nowhere.eligible_K)
    assert list(one.next_states(nowhere)) == [] and one.choose(nowhere) is None


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_repeats_itself_with_the_seed(search):
    def once():
        view = view_of([0.3, *[None] * 7, 1.0], seed=5)
        return play(SEARCHES[search](), view, [0.3] * 5 + [1.0] * 4), SEARCHES[search]().choose(view)

    assert repr(once()) == repr(once())  # repr: a confidence of NaN equals itself


def test_expected_length_of_a_continuation():
    # 40 tokens are expected; s_2 keeps 20, and no state is expected to need less than one.
    assert view_of(UNKNOWN).continuation_tokens(2) == 20
    assert view_of(UNKNOWN, max_continuation_tokens=6).continuation_tokens(2) == 6
    view = view_of(UNKNOWN)
    view.expected_tokens = 100.0  # the group's other responses are longer
    assert view.continuation_tokens(2) == 80
