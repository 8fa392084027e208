"""What the ways have in common, and in what they differ, by hand and through the procedure."""

from collections import Counter

import pytest

from tests.core.fakes import CoinPolicy, FakePolicy, root, run
from tests.core.learn.fakes import AT_ONCE, BY_GROUP, SEQUENTIAL, TWINS, groups, numbers
from verl_gpo.core.learn import LEARN_FROM
from verl_gpo.core.learn.base import Draws
from verl_gpo.core.search import propose
from verl_gpo.core.search.controls import NoSearch, RandomStep


@pytest.mark.parametrize("learn_from", LEARN_FROM)
def test_without_a_critical_step_only_all_has_groups(learn_from):
    expected = [(1, "ab", False), (2, "cde", False)] if learn_from == "all" else []
    assert groups(learn_from, reset=None) == expected


@pytest.mark.parametrize("learn_from", LEARN_FROM)
def test_a_reset_state_where_everything_was_lost_is_no_group(learn_from):
    assert LEARN_FROM[learn_from].groups(AT_ONCE, {2: ()}, 2, (), lambda state: ()) == ()


@pytest.mark.parametrize(
    ("learn_from", "sequential", "state", "missing"),
    [  # 4 wanted, 3 drawn there
        ("fresh", False, 2, 4),
        ("fresh", True, 0, 4),
        ("reuse", False, 2, 0),
        ("reuse", True, 2, 1),
        ("reuse", True, 0, 0),
        ("split", False, 2, 0),
        ("split", True, 2, 4),
        ("split", True, 0, 0),
        ("all", False, 2, 0),
        ("all", True, 2, 1),
    ],
)
def test_what_is_still_to_be_drawn_by_hand(learn_from, sequential, state, missing):
    assert LEARN_FROM[learn_from].missing(SEQUENTIAL if sequential else AT_ONCE, state, 3, 4) == missing


@pytest.mark.parametrize(
    ("learn_from", "at_once", "sequential", "by_group"),
    [  # rows, and rollouts drawn afterwards: 12 draws, 5 of them at the reset state; 8 are wanted
        ("fresh", (8, 8), (8, 8), (8, 8)),
        ("reuse", (5, 0), (5, 0), (5, 0)),
        ("split", (2, 0), (5, 0), (4, 4)),
        ("all", (12, 0), (12, 0), (12, 0)),
    ],
)
def test_what_is_expected_by_hand(learn_from, at_once, sequential, by_group):
    way, draws = LEARN_FROM[learn_from], Draws(12, 5)
    assert way.expected(AT_ONCE, draws, 8) == at_once
    assert way.expected(SEQUENTIAL, draws, 8) == sequential
    assert way.expected(BY_GROUP, draws, 8) == by_group


@pytest.mark.parametrize("learn_from", LEARN_FROM)
def test_without_a_search_new_rollouts_are_expected_and_without_a_reset_none(learn_from):
    assert LEARN_FROM[learn_from].expected(RandomStep(), Draws(0, 0), 8) == (8, 8)
    assert LEARN_FROM[learn_from].expected(NoSearch(), Draws(0, 0), 8) == (0, 0)


@pytest.mark.parametrize(("learn_from", "kept_back"), [("fresh", 0), ("reuse", 5), ("split", 5), ("all", 0)])
def test_what_a_search_on_a_budget_leaves_for_the_group(learn_from, kept_back):
    assert LEARN_FROM[learn_from].kept_back(5) == kept_back


def test_all_other_ways_let_the_search_look_at_everything():
    assert all(LEARN_FROM[other].takes_part(AT_ONCE, n) for other in ("fresh", "reuse", "all") for n in range(4))


def test_a_proposal_is_checked_by_its_whole_group_where_that_is_learnt_from():
    assert all(LEARN_FROM[way].check_size(8) == 8 for way in ("fresh", "reuse", "all"))


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
@pytest.mark.parametrize("learn_from", ["reuse", "split", "all"])
def test_a_reset_to_the_prompt_draws_nothing_that_the_root_group_has(search, learn_from, monkeypatch):
    monkeypatch.setattr(propose, "MAX_PROPOSALS", 4)
    # V = 0 1 1 1 | 1: step 0 is critical, and its rollouts are the root group.
    policy = FakePolicy({0: [0], 2: [1], 4: [1], 6: [1]})
    roots = [root(reward=1.0), *(root(reward=0.0, first=50 * n) for n in range(1, 30))]
    result = run(policy, roots, search=search, learn_from=learn_from, n_mc=8)
    (reentry,) = result.reentries
    assert reentry.critical.index == 0 and not any(group.critical for group in reentry.groups)
    assert result.usage["reentry"].requests == 0 and policy.asked()[0] == 0


@pytest.mark.parametrize("learn_from", ["reuse", "split"])
@pytest.mark.parametrize("n_mc", [1, 2, 4])
def test_adaptive_draws_the_group_within_its_budget(learn_from, n_mc):
    # 6 steps of 2 tokens; the budget is 2 n_mc ceil(log2 6) = 6 n_mc, but at most uniform's 5 n_mc.
    for seed in range(10):
        policy = CoinPolicy(lambda n: 0.2 if n < 6 else 1.0)
        result = run(
            policy,
            [root(tokens=12), root(reward=0.0, first=50)],
            search="adaptive",
            learn_from=learn_from,
            n_mc=n_mc,
            n_reentry=4,
            seed=str(seed),
        )
        assert len(policy.requests) <= 5 * n_mc
        (reentry,) = result.reentries
        if learn_from == "reuse" and reentry.critical and reentry.critical.index > 0:
            assert len(reentry.rollouts) >= min(4, 5 * n_mc)


@pytest.mark.parametrize("learn_from", LEARN_FROM)
def test_a_state_that_two_anchors_share_is_drawn_and_learnt_from_once(learn_from):
    # V = .5 1 0 0 and the outcome: step 1 loses most in both, and resets to the s_1 that they share.
    policy = FakePolicy({2: [1], 4: [0], 6: [0]})
    result = run(policy, TWINS, anchors=2, n_mc=4, n_reentry=3, rule="argmin", learn_from=learn_from)
    first, second = result.reentries
    assert first.critical.index == second.critical.index == 1
    states = [group.prefix for reentry in result.reentries for group in reentry.groups]
    assert len(states) == len(set(states))
    assert [group.prefix for group in first.groups if group.critical] == [(0, 1)]
    assert policy.asked()[2] == 4 + (3 if learn_from == "fresh" else 0)
    learnt = Counter(number for reentry in result.reentries for group in reentry.groups for number in numbers(group))
    assert set(learnt.values()) == {1}


@pytest.mark.parametrize("learn_from", ["reuse", "all"])
@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_was_drawn_after_the_choice_is_thrown_away(seed, learn_from):
    # Sequential, so that groups are topped up; the twins share states, whoever's they are.
    policy = CoinPolicy(lambda n: (0.5, 0.5, 0.3, 0.8, 0.2)[n // 2])
    result = run(
        policy, TWINS, anchors=2, search="adaptive", learn_from=learn_from, n_reentry=12, seed=str(seed), n_mc=8
    )
    learnt = [id(rollout) for reentry in result.reentries for rollout in reentry.rollouts]
    assert len(learnt) == len(set(learnt))
    if learn_from == "all":
        singles = sum(
            count == 1
            for prefix, count in Counter(prefix for prefix, _, _ in policy.requests).items()
            if prefix not in {group.prefix for reentry in result.reentries for group in reentry.groups}
        )
        assert len(learnt) + singles == len(policy.requests)
    else:
        critical = [r.critical for r in result.reentries]
        assert result.usage["reentry"].requests <= 12 * sum(c is not None and c.index > 0 for c in critical)
