"""How many rows a re-entry group can give, by hand, and through the procedure itself."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.core.fakes import CoinPolicy, FakePolicy, pairs_of_tokens, root, run
from verl_gpo.config import GPOConfig
from verl_gpo.config.names import LEARN_FROM, SEARCHES
from verl_gpo.core.cost import expected_cost, most_rows, rows_of_group
from verl_gpo.core.reentry import ReentryProcedure

COMPARED, SINGLE = 2, 1


@pytest.mark.parametrize(
    ("settings", "compared", "single"),
    [  # 16 steps; the rows where rollouts are compared, and where single rows are looked at
        ({"n_reentry": 4}, 4, 4),
        ({"n_reentry": 1}, 0, 1),
        ({"learn_from": "reuse", "n_mc": 4, "n_reentry": 1}, 4, 4),
        ({"learn_from": "reuse", "n_mc": 1}, 0, 1),
        ({"learn_from": "all", "n_mc": 1}, 0, 1),
        ({"learn_from": "all", "n_mc": 2}, 2, 2),
        # One of one is looked at by the search, so the group is drawn anew; of two or three one is kept out.
        ({"learn_from": "split", "n_mc": 1}, 4, 4),
        ({"learn_from": "split", "n_mc": 2}, 0, 1),
        ({"learn_from": "split", "n_mc": 3}, 0, 1),
        ({"learn_from": "split", "n_mc": 4}, 2, 2),
        ({"search": "bisection", "learn_from": "reuse", "n_mc": 1}, 0, 1),
        # The belief and chance may choose a state that was not sampled, whose group is drawn afterwards.
        ({"search": "bisection", "learn_from": "reuse", "n_mc": 1, "value_model": "curve"}, 4, 4),
        ({"search": "bisection", "learn_from": "reuse", "n_mc": 1, "rule": "random"}, 4, 4),
        # n_reentry // 2 check, the rest is learnt from.
        ({"search": "propose", "learn_from": "split", "n_reentry": 2}, 0, 1),
        ({"search": "propose", "learn_from": "split", "n_reentry": 3}, 2, 2),
        ({"search": "propose", "learn_from": "reuse", "n_reentry": 1}, 0, 1),
        ({"search": "propose", "learn_from": "all", "n_reentry": 2}, 2, 2),
        # 2 n_mc log2 16 = 32, all of which may be drawn at one state but for the 1 that is kept back.
        ({"search": "adaptive", "learn_from": "reuse", "n_reentry": 1}, 31, 31),
        ({"search": "adaptive", "learn_from": "reuse", "n_reentry": 1, "search_budget": 2}, 0, 1),
        ({"search": "adaptive", "learn_from": "split", "n_reentry": 1}, 0, 1),
        ({"search": "adaptive", "learn_from": "split", "n_reentry": 3}, 3, 3),
        ({"search": "random", "n_reentry": 1}, 0, 1),
        ({"search": "given", "n_reentry": 2}, 2, 2),
        ({"search": "informative", "n_reentry": 1}, 0, 1),
        ({"search": "none"}, 0, 0),
        ({"enable": False}, 0, 0),
        # Places for n_reentry rows are kept, and what is drawn beyond them is left out.
        ({"rows": "matched", "learn_from": "reuse", "n_mc": 8, "n_reentry": 3}, 3, 3),
        ({"rows": "matched", "learn_from": "reuse", "n_mc": 8, "n_reentry": 1}, 0, 1),
    ],
)
def test_most_rows_by_hand(settings, compared, single):
    config = GPOConfig(**settings)
    assert (most_rows(config, COMPARED, 16), most_rows(config, SINGLE, 16)) == (compared, single)


def test_a_group_that_is_too_small_gives_no_row():
    matched = GPOConfig(rows="matched", n_reentry=3)
    assert [rows_of_group(GPOConfig(), rollouts, COMPARED) for rollouts in (0, 1, 2, 9)] == [0, 0, 2, 9]
    assert [rows_of_group(GPOConfig(), rollouts, SINGLE) for rollouts in (0, 1, 2)] == [0, 1, 2]
    assert [rows_of_group(matched, rollouts, COMPARED) for rollouts in (1, 3, 9)] == [0, 3, 3]


@pytest.mark.parametrize(
    "settings", [{"n_reentry": 1}, {"learn_from": "split", "n_mc": 3}, {"learn_from": "all", "n_mc": 1}]
)
def test_the_cost_of_what_never_learns_is_that_of_the_search_alone(settings):
    cost = expected_cost(GPOConfig(**settings), 4, 100.0, 8)
    assert (cost.reentry_rows, cost.reentry_tokens) == (0, 0) and cost.value_tokens > 0
    assert expected_cost(GPOConfig(**settings), 4, 100.0, 8, smallest_group=SINGLE).reentry_rows > 0


def test_split_of_a_single_continuation_pays_for_its_group():
    # The only continuation took part in the choice, so four are drawn afterwards: 3 states x 1, and 4 of 50 tokens.
    cost = expected_cost(GPOConfig(learn_from="split", n_mc=1), 4, 100.0, 8)
    assert (cost.value_tokens, cost.reentry_tokens, cost.reentry_rows) == (150, 200, 4)


def requests_after(smallest_group, given=(), **settings):
    """What the procedure draws after the choice, which is step 1: V = .5 .5 1 1 | 1, so the reset is to s_1."""
    policy = FakePolicy({2: [0, 1], 4: [1], 6: [1]})
    procedure = ReentryProcedure(GPOConfig(**settings), pairs_of_tokens, 12, smallest_group=smallest_group)
    roots = [root(reward=1.0), root(reward=0.0, first=50)]
    result = asyncio.run(procedure.run(roots, policy, policy, given=given))
    assert result.reentries[0].critical.index == 1
    return result.usage["reentry"].requests


def test_a_group_of_one_is_drawn_only_for_an_optimizer_that_looks_at_single_rows():
    assert requests_after(COMPARED, n_mc=2, n_reentry=1) == 0
    assert requests_after(SINGLE, n_mc=2, n_reentry=1) == 1
    assert requests_after(COMPARED, n_mc=2, n_reentry=2) == 2


@pytest.mark.parametrize(("budget", "compared", "single"), [(12, 2, 2), (11, 0, 1), (5, 0, 0)])
def test_tokens_for_one_rollout_are_not_spent_where_rollouts_are_compared(budget, compared, single):
    # From s_1 a rollout is expected to have the 6 tokens that the response still had.
    settings = {"search": "given", "given": (1,), "n_reentry": 2, "prompt_token_budget": budget}
    assert (requests_after(COMPARED, **settings), requests_after(SINGLE, **settings)) == (compared, single)


@hypothesis_settings(max_examples=60)
@given(
    search=st.sampled_from([name for name in SEARCHES if name not in ("none", "given")]),
    learn_from=st.sampled_from(LEARN_FROM),
    n_mc=st.integers(1, 5),
    n_reentry=st.integers(1, 5),
    seed=st.integers(0, 5),
)
def test_no_group_is_larger_than_said(search, learn_from, n_mc, n_reentry, seed):
    settings = {"search": search, "learn_from": learn_from, "n_mc": n_mc, "n_reentry": n_reentry}
    policy = CoinPolicy(lambda n: 0.2 if n < 6 else 0.9)
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, seed=str(seed), cost_ceiling=0.0, **settings)
    most = most_rows(GPOConfig(**settings), SINGLE, 5)
    for reentry in result.reentries:
        for group in reentry.groups:
            assert rows_of_group(GPOConfig(**settings), len(group.rollouts), SINGLE) <= most
