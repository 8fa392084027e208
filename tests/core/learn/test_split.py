"""Continuations that took no part in the choice."""

import pytest

from tests.core.fakes import CoinPolicy, root, run
from tests.core.learn.fakes import AT_ONCE, BY_GROUP, REWARDS, SEQUENTIAL, groups, numbers, through
from verl_gpo.core.learn.split import Split
from verl_gpo.core.search import propose

SPLIT = Split()


def test_split_groups_by_hand():
    assert groups("split") == [(2, "d", True)]  # the second of three; the first and the third took part in the choice
    assert groups("split", sequential=True, added="xyz") == [(2, "xyz", True)]


def test_split_leaves_out_what_was_cut_short():
    drawn = {1: "aB", 2: "cDe", 3: "FG"}
    assert groups("split", drawn=drawn) == []


def test_split_keeps_every_second_continuation_out_of_the_choice():
    assert [SPLIT.takes_part(AT_ONCE, n) for n in range(4)] == [True, False, True, False]
    assert all(SPLIT.takes_part(SEQUENTIAL, n) for n in range(4))


@pytest.mark.parametrize(
    ("n_reentry", "checked", "drawn"),
    [(8, 4, 4), (5, 2, 3), (1, 1, 1), (8, 0, 8), (8, 3, 5)],  # not checked for want of tokens; one request failed
)
def test_what_checks_a_proposal_and_what_is_learnt_from_make_a_group_under_split(n_reentry, checked, drawn):
    assert checked in (0, 3) or SPLIT.check_size(n_reentry) == checked
    assert SPLIT.missing(BY_GROUP, 2, checked, n_reentry) == drawn
    assert SPLIT.missing(BY_GROUP, 0, checked, n_reentry) == 0


def test_split_chooses_by_the_even_numbered_and_learns_from_the_odd_ones():
    # By numbers 0 and 2 of each four: V = .5 1 1 .5 | 1 -> A = .5 0 -.5 .5, the first of equals is step 0, at s_0 ...
    _, result = through("split")
    assert [value.mean for value in result.reentries[0].values] == [0.5, 1.0, 1.0, 0.5, 1.0]
    assert [value.count for value in result.reentries[0].values] == [2, 2, 2, 2, 0]
    assert result.reentries[0].critical.index == 0 and result.reentries[0].groups == ()
    # ... and with 0 0 0 0 at s_3: V = .5 1 1 0 | 1 -> A = .5 0 -1 1: step 3, whose second and fourth are learnt from.
    _, result = through("split", {**REWARDS, 6: [0]})
    (group,) = result.reentries[0].groups
    assert (group.state, numbers(group)) == (3, [10, 12])
    assert result.usage["reentry"].requests == 0


def test_a_sequential_split_chooses_by_everything_and_learns_from_what_it_draws_afterwards():
    policy = CoinPolicy(lambda n: 0.2 if n < 6 else 1.0)
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="adaptive", learn_from="split", n_mc=8, n_reentry=4, seed="1")
    (reentry,) = result.reentries
    state = reentry.critical.index
    assert state > 0 and [group.state for group in reentry.groups] == [state]
    assert result.usage["reentry"].requests == 4 == len(reentry.rollouts)
    # Every draw that came back is in a value that the choice saw.
    assert sum(value.count for value in reentry.values[1:-1]) == result.usage["value"].requests


def test_a_split_proposal_is_checked_by_one_half_of_its_group_and_learnt_from_by_the_other(monkeypatch):
    monkeypatch.setattr(propose, "MAX_PROPOSALS", 1)
    policy = CoinPolicy(lambda n: 0.0)  # wherever it is checked, the gain comes later
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="propose", learn_from="split", n_reentry=8, seed="1")
    (reentry,) = result.reentries
    (group,) = reentry.groups
    assert group.state == reentry.critical.index > 0 and len(group.rollouts) == 4
    assert reentry.values[group.state].count == 4
    assert result.usage["value"].requests == 4 == result.usage["reentry"].requests


def test_refuted_proposals_cost_half_a_group_each_under_split(monkeypatch):
    monkeypatch.setattr(propose, "MAX_PROPOSALS", 3)
    policy = CoinPolicy(lambda n: 1.0)  # nothing that is checked was in danger, so it was the first step that gained
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="propose", learn_from="split", n_reentry=8, seed="1")
    assert result.usage["value"].requests == 3 * 4
    assert result.reentries[0].critical.index == result.usage["reentry"].requests == 0  # the root group is there
