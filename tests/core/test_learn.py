"""What is learnt from, by itself and through the engine."""

from collections import Counter

import pytest

from tests.core.fakes import CoinPolicy, FakePolicy, root, run
from verl_gpo.core.learn import LEARN_FROM, branch_groups, check_size, missing_continuations, takes_part_in_choice
from verl_gpo.core.types import ScoredContinuation, Trajectory


class Letter(str):
    """Stands for a continuation; capitals were cut short."""

    @property
    def cut(self):
        return self.isupper()


def letters(text):
    return tuple(map(Letter, text))


# What the search drew: two continuations at s_1, three at s_2, one at s_3.
DRAWN = {2: ((0, 1), "cde"), 1: ((0,), "ab"), 3: ((0, 1, 2), "f")}


def groups(learn_from, sequential=False, reset=2, added="", drawn=None):
    drawn = {state: (prefix, letters(samples)) for state, (prefix, samples) in (drawn or DRAWN).items()}
    return [
        (group.state, "".join(group.rollouts), group.critical)
        for group in branch_groups(learn_from, sequential, drawn, reset, letters(added))
    ]


def test_what_was_cut_short_is_not_learnt_from():
    drawn = {1: ((0,), "aB"), 2: ((0, 1), "cDe"), 3: ((0, 1, 2), "FG")}
    assert groups("reuse", drawn=drawn) == [(2, "ce", True)]
    assert groups("split", drawn=drawn) == []
    assert groups("all", drawn=drawn) == [(2, "ce", True)]  # one at s_1 and none at s_3 are no groups
    assert groups("reuse", reset=3, drawn=drawn, added="x") == [(3, "x", True)]


def test_groups_by_hand():
    assert groups("fresh", added="xyz") == [(2, "xyz", True)]
    assert groups("reuse") == [(2, "cde", True)]
    assert groups("reuse", sequential=True, added="x") == [(2, "cdex", True)]
    assert groups("split") == [(2, "d", True)]  # the second of three; the first and the third took part in the choice
    assert groups("split", sequential=True, added="xyz") == [(2, "xyz", True)]
    assert groups("all", added="x") == [(1, "ab", False), (2, "cdex", True)]  # s_3 has nothing to compare f with


def test_a_critical_state_with_one_continuation_is_a_group_all_the_same():
    assert groups("all", reset=3) == [(1, "ab", False), (2, "cde", False), (3, "f", True)]


@pytest.mark.parametrize("learn_from", LEARN_FROM)
def test_without_a_critical_step_only_all_has_groups(learn_from):
    expected = [(1, "ab", False), (2, "cde", False)] if learn_from == "all" else []
    assert groups(learn_from, reset=None) == expected


@pytest.mark.parametrize("learn_from", LEARN_FROM)
def test_a_reset_state_where_everything_was_lost_is_no_group(learn_from):
    assert branch_groups(learn_from, False, {2: ((0, 1), ())}, 2, ()) == ()


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
    assert missing_continuations(learn_from, sequential, state, 3, 4) == missing


@pytest.mark.parametrize(
    ("n_reentry", "checked", "drawn"),
    [(8, 4, 4), (5, 2, 3), (1, 1, 1), (8, 0, 8), (8, 3, 5)],  # not checked for want of tokens; one request failed
)
def test_what_checks_a_proposal_and_what_is_learnt_from_make_a_group_under_split(n_reentry, checked, drawn):
    assert checked in (0, 3) or check_size("split", n_reentry) == checked
    assert missing_continuations("split", True, 2, checked, n_reentry, by_group=True) == drawn
    assert missing_continuations("split", True, 0, checked, n_reentry, by_group=True) == 0


def test_a_proposal_is_checked_by_its_whole_group_where_that_is_learnt_from():
    assert all(check_size(way, 8) == 8 for way in ("fresh", "reuse", "all"))


def test_no_negative_number_is_drawn():
    assert missing_continuations("reuse", True, 2, 9, 4) == 0


def test_split_keeps_every_second_continuation_out_of_the_choice():
    assert [takes_part_in_choice("split", False, n) for n in range(4)] == [True, False, True, False]
    assert all(takes_part_in_choice("split", True, n) for n in range(4))
    assert all(takes_part_in_choice(other, False, n) for other in ("fresh", "reuse", "all") for n in range(4))


# Through the engine. The group's mean is .5 and the anchor right; V = .5 .5 .75 .25 | 1, so step 3 gains most, .75.
ROOTS = [root(reward=1.0), root(reward=0.0, first=50)]
REWARDS = {2: [1, 0, 1, 0], 4: [1, 1, 1, 0], 6: [1, 0, 0, 0, 1, 1, 0, 1]}


def engine(learn_from, rewards=REWARDS, roots=ROOTS, fail=(), **settings):
    policy = FakePolicy(rewards, fail_sampling=fail)
    result = run(policy, roots, learn_from=learn_from, **{"n_mc": 4, "n_reentry": 3, **settings})
    return policy, result


def numbers(group):
    """Which requests, by their number from 1, a group is made of."""
    return [rollout.continuation.source for rollout in group.rollouts]


def test_fresh_learns_from_new_rollouts_only():
    _, result = engine("fresh")
    ((group,),) = (reentry.groups for reentry in result.reentries)
    assert (group.state, group.prefix, group.critical) == (3, tuple(range(6)), True)
    assert numbers(group) == [13, 14, 15]  # 1 to 12 are Monte Carlo's


def test_reuse_learns_from_the_continuations_of_the_reset_state_and_draws_no_more():
    _, result = engine("reuse")
    (group,) = result.reentries[0].groups
    assert (group.state, numbers(group), group.critical) == (3, [9, 10, 11, 12], True)
    assert result.usage["reenter"].requests == 0


def test_split_chooses_by_the_even_numbered_and_learns_from_the_odd_ones():
    # By numbers 0 and 2 of each four: V = .5 1 1 .5 | 1 -> A = .5 0 -.5 .5, the first of equals is step 0, at s_0 ...
    _, result = engine("split")
    assert [value.mean for value in result.reentries[0].values] == [0.5, 1.0, 1.0, 0.5, 1.0]
    assert [value.count for value in result.reentries[0].values] == [2, 2, 2, 2, 0]
    assert result.reentries[0].critical.index == 0 and result.reentries[0].groups == ()
    # ... and with 0 0 0 0 at s_3: V = .5 1 1 0 | 1 -> A = .5 0 -1 1: step 3, whose second and fourth are learnt from.
    _, result = engine("split", {**REWARDS, 6: [0]})
    (group,) = result.reentries[0].groups
    assert (group.state, numbers(group)) == (3, [10, 12])
    assert result.usage["reenter"].requests == 0


def test_all_learns_from_every_state_the_critical_one_marked():
    _, result = engine("all")
    assert [(g.state, numbers(g), g.critical) for g in result.reentries[0].groups] == [
        (1, [1, 2, 3, 4], False),
        (2, [5, 6, 7, 8], False),
        (3, [9, 10, 11, 12], True),
    ]
    assert len(result.reentries[0].rollouts) == result.usage["value"].requests == 12


def test_all_leaves_out_a_state_with_a_single_survivor():
    _, result = engine("all", fail={1, 2, 3})
    assert [group.state for group in result.reentries[0].groups] == [2, 3]


def test_all_learns_without_a_critical_step():
    _, result = engine("all", {n: [0, 1, 0, 1] for n in (2, 4, 6)}, min_advantage=0.9)
    assert result.reentries[0].critical is None
    assert [(g.state, g.critical) for g in result.reentries[0].groups] == [(1, False), (2, False), (3, False)]


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
@pytest.mark.parametrize("learn_from", ["reuse", "split", "all"])
def test_a_reset_to_the_prompt_draws_nothing_that_the_root_group_has(search, learn_from):
    # V = 0 1 1 1 | 1: step 0 is critical, and its rollouts are the root group.
    policy = FakePolicy({0: [0], 2: [1], 4: [1], 6: [1]})
    roots = [root(reward=1.0), *(root(reward=0.0, first=50 * n) for n in range(1, 30))]
    result = run(policy, roots, search=search, learn_from=learn_from, n_mc=8, max_proposals=4)
    (reentry,) = result.reentries
    assert reentry.critical.index == 0 and not any(group.critical for group in reentry.groups)
    assert result.usage["reenter"].requests == 0 and policy.asked()[0] == 0


def test_fresh_draws_from_the_prompt_again():
    policy = FakePolicy({0: [0], 2: [1], 4: [1], 6: [1]})
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0, first=50)], n_reentry=3).reentries
    assert reentry.critical.index == 0 and policy.asked()[0] == 3 == len(reentry.rollouts)


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


def test_a_sequential_split_chooses_by_everything_and_learns_from_what_it_draws_afterwards():
    policy = CoinPolicy(lambda n: 0.2 if n < 6 else 1.0)
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="adaptive", learn_from="split", n_mc=8, n_reentry=4, seed="1")
    (reentry,) = result.reentries
    state = reentry.critical.index
    assert state > 0 and [group.state for group in reentry.groups] == [state]
    assert result.usage["reenter"].requests == 4 == len(reentry.rollouts)
    # Every draw that came back is in a value that the choice saw.
    assert sum(value.count for value in reentry.values[1:-1]) == result.usage["value"].requests


def test_a_split_proposal_is_checked_by_one_half_of_its_group_and_learnt_from_by_the_other():
    policy = CoinPolicy(lambda n: 0.0)  # wherever it is checked, the gain comes later
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="propose", learn_from="split", n_reentry=8, max_proposals=1, seed="1")
    (reentry,) = result.reentries
    (group,) = reentry.groups
    assert group.state == reentry.critical.index > 0 and len(group.rollouts) == 4
    assert reentry.values[group.state].count == 4
    assert result.usage["value"].requests == 4 == result.usage["reenter"].requests


def test_refuted_proposals_cost_half_a_group_each_under_split():
    policy = CoinPolicy(lambda n: 1.0)  # nothing that is checked was in danger, so it was the first step that gained
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="propose", learn_from="split", n_reentry=8, max_proposals=3, seed="1")
    assert result.usage["value"].requests == 3 * 4
    assert result.reentries[0].critical.index == result.usage["reenter"].requests == 0  # the root group is there


def test_a_sequential_reuse_tops_the_group_up_to_what_is_wanted():
    policy = CoinPolicy(lambda n: 0.2 if n < 6 else 1.0)
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="adaptive", learn_from="reuse", n_mc=4, n_reentry=9, search_budget=24)
    (reentry,) = result.reentries
    (group,) = reentry.groups
    assert group.state == reentry.critical.index
    drawn = policy.asked()[2 * group.state]
    assert len(group.rollouts) == drawn >= 9


# Two anchors that agree on their first two steps, s_1 and s_2, and differ in s_3.
TWINS = [root(reward=1.0), Trajectory((0, 1, 2, 3, 20, 21, 22, 23), None, 0.0)]


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


def test_a_shared_state_that_is_critical_for_the_second_anchor_only_is_marked():
    # V of the first: .5 .5 .5 0 | 1, step 3 gains 1. V of the second: .5 .5 .5 1 | 0, step 2 gains .5: it resets to the
    # shared s_2, which the first anchor's groups hold already.
    class Branching(FakePolicy):
        async def score(self, prefix, continuation):
            if len(prefix) == 6:
                return ScoredContinuation(continuation, 1.0 if prefix[-1] == 21 else 0.0)
            return await super().score(prefix, continuation)

    policy = Branching({2: [0, 1, 0, 1], 4: [0, 1, 0, 1]})
    result = run(policy, TWINS, anchors=2, n_mc=4, learn_from="all")
    assert [reentry.critical.index for reentry in result.reentries] == [3, 2]
    marked = {group.prefix for reentry in result.reentries for group in reentry.groups if group.critical}
    assert marked == {tuple(range(6)), tuple(range(4))}


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
        assert result.usage["reenter"].requests <= 12 * sum(c is not None and c.index > 0 for c in critical)
