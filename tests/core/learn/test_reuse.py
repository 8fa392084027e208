"""The continuations of the reset state, topped up where the search left room."""

from tests.core.fakes import CoinPolicy, root, run
from tests.core.learn.fakes import SEQUENTIAL, groups, numbers, through
from verl_gpo.core.learn import LEARN_FROM


def test_reuse_groups_by_hand():
    assert groups("reuse") == [(2, "cde", True)]
    assert groups("reuse", sequential=True, added="x") == [(2, "cdex", True)]


def test_reuse_leaves_out_what_was_cut_short():
    drawn = {1: "aB", 2: "cDe", 3: "FG"}
    assert groups("reuse", drawn=drawn) == [(2, "ce", True)]
    assert groups("reuse", reset=3, drawn=drawn, added="x") == [(3, "x", True)]


def test_no_negative_number_is_drawn():
    assert LEARN_FROM["reuse"].missing(SEQUENTIAL, 2, 9, 4) == 0


def test_reuse_learns_from_the_continuations_of_the_reset_state_and_draws_no_more():
    _, result = through("reuse")
    (group,) = result.reentries[0].groups
    assert (group.state, numbers(group), group.critical) == (3, [9, 10, 11, 12], True)
    assert result.usage["reentry"].requests == 0


def test_a_sequential_reuse_tops_the_group_up_to_what_is_wanted():
    policy = CoinPolicy(lambda n: 0.2 if n < 6 else 1.0)
    roots = [root(tokens=10), root(reward=0.0, first=50)]
    result = run(policy, roots, search="adaptive", learn_from="reuse", n_mc=4, n_reentry=9, search_budget=24)
    (reentry,) = result.reentries
    (group,) = reentry.groups
    assert group.state == reentry.critical.index
    drawn = policy.asked()[2 * group.state]
    assert len(group.rollouts) == drawn >= 9
