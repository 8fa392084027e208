"""What the procedure returns."""

from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.learn import ReentryGroup
from verl_gpo.core.result import GroupResult, Reentry
from verl_gpo.core.types import Continuation, ScoredContinuation
from verl_gpo.core.values import observed_value


def rollouts(*rewards):
    return tuple(ScoredContinuation(Continuation((1,)), reward) for reward in rewards)


def test_rollouts_of_all_groups_in_order():
    groups = (
        ReentryGroup(1, (0, 1), rollouts(1.0, 0.0), False),
        ReentryGroup(2, (0, 1, 2, 3), rollouts(0.5), True),
    )
    reentry = Reentry(3, (2, 4, 6), (observed_value(1.0),) * 4, CriticalStep(2, 0.5), groups)
    assert [rollout.reward for rollout in reentry.rollouts] == [1.0, 0.0, 0.5]
    assert Reentry(3, (), (), None).rollouts == ()


def test_a_result_begins_empty_and_shares_nothing_with_another():
    one, other = GroupResult(), GroupResult()
    one.usage["value"].requests += 1
    one.reentries.append(Reentry(0, (), (), None))
    assert set(other.usage) == {"value", "reentry"} and other.usage["value"].requests == 0
    assert (other.reentries, other.skipped, other.effort, other.thinned) == ([], None, "search", False)
