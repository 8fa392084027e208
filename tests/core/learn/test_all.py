"""Every state with continuations is a group of its own."""

from tests.core.fakes import FakePolicy, run
from tests.core.learn.fakes import TWINS, groups, numbers, through
from verl_gpo.core.types import ScoredContinuation


def test_all_groups_by_hand():
    assert groups("all", added="x") == [(1, "ab", False), (2, "cdex", True)]  # s_3 has nothing to compare f with


def test_all_leaves_out_what_was_cut_short():
    drawn = {1: "aB", 2: "cDe", 3: "FG"}
    assert groups("all", drawn=drawn) == [(2, "ce", True)]  # one at s_1 and none at s_3 are no groups


def test_a_critical_state_with_one_continuation_is_a_group_all_the_same():
    assert groups("all", reset=3) == [(1, "ab", False), (2, "cde", False), (3, "f", True)]


def test_all_learns_from_every_state_the_critical_one_marked():
    _, result = through("all")
    assert [(g.state, numbers(g), g.critical) for g in result.reentries[0].groups] == [
        (1, [1, 2, 3, 4], False),
        (2, [5, 6, 7, 8], False),
        (3, [9, 10, 11, 12], True),
    ]
    assert len(result.reentries[0].rollouts) == result.usage["value"].requests == 12


def test_all_leaves_out_a_state_with_a_single_survivor():
    _, result = through("all", fail={1, 2, 3})
    assert [group.state for group in result.reentries[0].groups] == [2, 3]


def test_all_learns_without_a_critical_step():
    _, result = through("all", {n: [0, 1, 0, 1] for n in (2, 4, 6)}, min_advantage=0.9)
    assert result.reentries[0].critical is None
    assert [(g.state, g.critical) for g in result.reentries[0].groups] == [(1, False), (2, False), (3, False)]


def test_a_shared_state_that_is_critical_for_the_second_anchor_only_is_marked():
    # V of the first: .5 .5 .5 0 | 1, step 3 gains 1. V of the second: .5 .5 .5 1 | 0, step 2 gains .5: it resets to the
    # shared s_2, which the first anchor's groups hold already.
    class Fork(FakePolicy):
        async def score(self, prefix, continuation):
            if len(prefix) == 6:
                return ScoredContinuation(continuation, 1.0 if prefix[-1] == 21 else 0.0)
            return await super().score(prefix, continuation)

    policy = Fork({2: [0, 1, 0, 1], 4: [0, 1, 0, 1]})
    result = run(policy, TWINS, anchors=2, n_mc=4, learn_from="all")
    assert [reentry.critical.index for reentry in result.reentries] == [3, 2]
    marked = {group.prefix for reentry in result.reentries for group in reentry.groups if group.critical}
    assert marked == {tuple(range(6)), tuple(range(4))}
