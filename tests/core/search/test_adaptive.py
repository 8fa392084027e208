"""Best-step identification: what a draw tells, what it costs, and when it is enough."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from tests.core.fakes import play, view_of
from verl_gpo.config import GPOConfig
from verl_gpo.core.search.adaptive import AdaptiveSearch, adaptive_budget, most_telling_draws
from verl_gpo.core.values import StateValue

UNKNOWN = [0.5, *[None] * 15, 1.0]


def mutual_information(success_MJ, share_M, picks):
    """I(M; O) of the outcomes O of independent draws ``picks`` given M, by summing over all of them."""
    information = 0.0
    for outcomes in itertools.product([True, False], repeat=len(picks)):
        given = np.ones(len(share_M))
        for state, success in zip(picks, outcomes, strict=True):
            given = given * (success_MJ[:, state] if success else 1 - success_MJ[:, state])
        overall = (share_M * given).sum()
        for share, probability in zip(share_M, given, strict=True):
            if share * probability > 0:
                information += share * probability * math.log(probability / overall)
    return information


def population(success_MJ, count_M):
    """As many equal curves of each label as ``count_M`` says; enough that the shrinkage of rare labels is nothing."""
    labels = np.repeat(np.arange(len(count_M)), count_M)
    return np.asarray(success_MJ)[labels], labels


def test_mutual_information_by_hand():
    # Two labels, each half: s_0 tells nothing, s_1 everything: log 2 = .693 nats.
    table, share = np.array([[0.5, 0.0], [0.5, 1.0]]), np.array([0.5, 0.5])
    assert mutual_information(table, share, [0]) == pytest.approx(0.0)
    assert mutual_information(table, share, [1]) == pytest.approx(math.log(2))
    success_SJ, labels_S = population(table, [500, 500])
    assert most_telling_draws(success_SJ, labels_S, np.ones(2), 1) == [1]


@pytest.mark.parametrize("seed", range(8))
def test_each_pick_is_the_best_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    table, counts = rng.random((3, 4)), rng.integers(1000, 2000, 3)
    cost_J = rng.uniform(1.0, 3.0, 4)
    share = counts / counts.sum()
    picks = most_telling_draws(*population(table, counts), cost_J, 3)
    chosen, known = [], 0.0
    for pick in picks:
        gains = [(mutual_information(table, share, [*chosen, j]) - known) / cost_J[j] for j in range(4)]
        assert gains[pick] >= max(gains) * 0.98  # of equals, to the precision of the shrinkage, either
        chosen.append(pick)
        known = mutual_information(table, share, chosen)


def test_of_two_that_tell_the_same_the_cheaper_one():
    table = np.array([[0.1, 0.1, 0.5], [0.9, 0.9, 0.5]])
    success_SJ, labels_S = population(table, [100, 100])
    assert most_telling_draws(success_SJ, labels_S, np.array([2.0, 1.0, 1.0]), 1) == [1]
    assert most_telling_draws(success_SJ, labels_S, np.array([1.0, 2.0, 1.0]), 1) == [0]
    assert most_telling_draws(success_SJ, labels_S, np.array([3.0, 3.0, 0.1]), 1) == [
        0
    ]  # one that tells nothing is no bargain


def test_picks_do_not_tell_the_same_twice():
    # Three labels. s_0 separates the first, s_1 the last, for certain; a second draw at either adds nothing.
    success_SJ, labels_S = population([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [100, 100, 100])
    assert sorted(most_telling_draws(success_SJ, labels_S, np.ones(2), 2)) == [0, 1]


@pytest.mark.parametrize(
    ("steps", "settings", "continuations"),
    [
        (16, {"n_mc": 4}, 32),  # 2 * 4 * log2 16
        (17, {"n_mc": 4}, 40),  # log2 17 is rounded up to 5
        (3, {"n_mc": 4}, 8),  # uniform would draw 4 at each of 2 states, which is less than 2 * 4 * 2
        (16, {"n_mc": 4, "search_budget": 10}, 10),
    ],
)
def test_budget_by_hand(steps, settings, continuations):
    assert adaptive_budget(GPOConfig(**settings), steps) == continuations


@pytest.mark.parametrize(("learn_from", "drawn"), [("fresh", 21), ("all", 21), ("reuse", 21 - 5), ("split", 21 - 5)])
def test_the_budget_is_spent_to_the_last_draw_less_what_the_group_needs(learn_from, drawn):
    # With a stop confidence of 1 only the budget ends it. Every state answers .5: nothing can be found out.
    view = view_of(
        UNKNOWN, search="adaptive", stop_confidence=1.0, search_budget=21, n_reentry=5, learn_from=learn_from
    )
    rounds = play(AdaptiveSearch(), view, [0.5] * 17)
    assert sum(map(len, rounds)) == drawn == sum(view.requested_K)


def test_lost_requests_count_against_the_budget():
    view = view_of(UNKNOWN, search_budget=13)
    assert sum(map(len, play(AdaptiveSearch(), view, [], lost=range(17)))) == 13


def test_a_budget_that_the_group_needs_alone_leaves_no_search():
    assert list(AdaptiveSearch().next_states(view_of(UNKNOWN, learn_from="reuse", n_reentry=4, search_budget=4))) == []


def test_it_stops_as_soon_as_it_is_sure_enough():
    # 1000 draws on either side of step 5 leave no doubt.
    view = view_of(UNKNOWN, seed=1)
    values = list(view.values_K1)
    values[5], values[6] = StateValue(0.1, 1000), StateValue(1.0, 1000)
    view.update(values, view.in_first)
    assert list(AdaptiveSearch().next_states(view)) == []
    assert AdaptiveSearch().choose(view).index == 5 and AdaptiveSearch().choose(view).confidence > 0.9


def test_it_stops_when_it_is_sure_that_there_is_none():
    # An all but hopeless prompt and a response that fails: no step gains .5.
    view = view_of([0.0, *[None] * 7, 0.0], count=100, min_advantage=0.5, stop_confidence=0.8)
    rounds = play(AdaptiveSearch(), view, [0.0] * 9)
    assert sum(map(len, rounds)) < adaptive_budget(view.config, 8)


def test_a_lower_confidence_stops_earlier():
    def drawn(confidence):
        view = view_of(UNKNOWN, stop_confidence=confidence, n_mc=8)
        return sum(map(len, play(AdaptiveSearch(), view, [0.3] * 9 + [1.0] * 8)))

    assert drawn(0.5) < drawn(0.95) <= 8 * 8


@pytest.mark.parametrize("jump", [0, 3, 8, 15])
def test_it_closes_in_on_the_jump(jump):
    curve = [0.2] * (jump + 1) + [1.0] * (16 - jump)
    view = view_of([0.2, *[None] * 15, 1.0], n_mc=8, seed=jump)
    rounds = play(AdaptiveSearch(), view, curve)
    assert abs(AdaptiveSearch().choose(view).index - jump) <= 1
    assert sum(map(len, rounds)) < 0.6 * 8 * 15  # what uniform would draw


def test_a_round_draws_a_multiple_of_four_that_grows_with_n_mc():
    for n_mc, size in [(1, 4), (4, 4), (7, 4), (8, 8), (16, 16)]:
        assert len(AdaptiveSearch().next_states(view_of(UNKNOWN, n_mc=n_mc, search_budget=100))) == size


def first_picks(**settings):
    picks = Counter()
    for seed in range(10):
        picks.update(AdaptiveSearch().next_states(view_of(UNKNOWN, seed=seed, n_mc=4, **settings)))
    return picks


def test_at_equal_cost_the_first_draws_halve_the_response():
    # Nothing is known but the two ends. Four draws together split the response into parts.
    picks = first_picks(max_continuation_tokens=1)
    assert 0 not in picks and 8 <= np.mean(list(picks.elements())) <= 13
    assert len(picks) >= 5 and picks[15] <= 0.4 * picks.total()


def test_at_real_cost_the_first_draws_lean_to_the_cheap_end_but_do_not_all_fall_on_it():
    picks = first_picks()
    assert np.mean(list(picks.elements())) > np.mean(list(first_picks(max_continuation_tokens=1).elements()))
    assert picks[15] < 0.75 * picks.total() and len(picks) >= 3


def test_the_scale_of_the_reward_does_not_matter():
    plain = view_of([0.25, *[None] * 15, 1.0], seed=3)
    scaled = view_of(
        [-5.0, *[None] * 15, 10.0], seed=3, reward_low=-10.0, reward_high=10.0
    )  # 20 times as wide, from -10
    assert list(AdaptiveSearch().next_states(plain)) == list(AdaptiveSearch().next_states(scaled))
