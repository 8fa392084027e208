"""New rollouts from the reset state."""

from tests.core.fakes import FakePolicy, root, run
from tests.core.learn.fakes import groups, numbers, through


def test_fresh_groups_by_hand():
    assert groups("fresh", added="xyz") == [(2, "xyz", True)]


def test_fresh_learns_from_new_rollouts_only():
    _, result = through("fresh")
    ((group,),) = (reentry.groups for reentry in result.reentries)
    assert (group.state, group.prefix, group.critical) == (3, tuple(range(6)), True)
    assert numbers(group) == [13, 14, 15]  # 1 to 12 are Monte Carlo's


def test_fresh_draws_from_the_prompt_again():
    policy = FakePolicy({0: [0], 2: [1], 4: [1], 6: [1]})
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0, first=50)], n_reentry=3).reentries
    assert reentry.critical.index == 0 and policy.asked()[0] == 3 == len(reentry.rollouts)
