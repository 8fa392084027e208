"""Advantages of a prompt's rows by hand, and records on disk."""

import pytest

from tests.forecast.fakes import drawn
from verl_gpo.core.credit import StepCredit
from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.learn import ReentryGroup
from verl_gpo.core.result import GroupResult, Reentry
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory
from verl_gpo.forecast.groups import Row, append, credited, read, rewrite
from verl_gpo.forecast.methods import method


def root(reward, *token_ids):
    return Trajectory(token_ids, None, reward)


def reentry(prefix, *rollouts):
    scored = tuple(ScoredContinuation(Continuation(ids), reward) for ids, reward in rollouts)
    group = ReentryGroup(1, prefix, scored, critical=True)
    return Reentry(0, (2, 4), (), CriticalStep(1, 0.5), (group,))


def test_roots_and_reentry_rollouts_are_compared_apart():
    """Roots 1, 0: mean .5, std .7071. Re-entry 0, 0, 1: mean 1/3, std .5774, so -.5774, -.5774, 1.1547."""
    roots = [root(1.0, 1, 2, 3, 4), root(0.0, 1, 2, 9)]
    result = GroupResult([reentry((1, 2), ((5, 6), 0.0), ((7,), 0.0), ((8, 8), 1.0))])
    found = credited(method("paper", 8), 3, 7, 99, roots, result)
    assert (found.method, found.batch, found.prompt, found.tokens) == ("paper", 3, 7, 99)
    assert found.trained == 4 + 3 + 2 + 1 + 2 and found.rows == 5 and found.mixed == (True, True)
    assert [(row.token_ids, row.start) for row in found.learnt] == [
        ((1, 2, 3, 4), 0),
        ((1, 2, 9), 0),
        ((1, 2, 5, 6), 2),
        ((1, 2, 7), 2),
        ((1, 2, 8, 8), 2),
    ]
    assert [row.runs[0][0] for row in found.learnt] == [4, 3, 4, 3, 4]
    expected = [0.7071, -0.7071, -0.5774, -0.5774, 1.1547]
    assert [row.runs[0][1] for row in found.learnt] == pytest.approx(expected, abs=1e-4)


def test_groups_of_one_outcome_give_no_rows_and_count_their_tokens():
    found = credited(method("grpo", 2), 0, 0, 6, [root(1.0, 1, 2), root(1.0, 3, 4)], GroupResult())
    assert found.learnt == () and found.trained == 4 and found.rows == 2 and found.mixed == (False,)


def test_reserved_rows_bound_a_group_and_a_single_rollout_is_left_out():
    roots = [root(1.0, 1, 2), root(0.0, 3, 4)]
    three = reentry((1,), ((5,), 0.0), ((6,), 1.0), ((7,), 1.0))
    lean = method("lean", 4)  # two of the four rows are reserved
    assert credited(lean, 0, 0, 6, roots, GroupResult([three])).rows == 4
    assert credited(lean, 0, 0, 6, roots, GroupResult([reentry((1,), ((5,), 0.0))])).rows == 2


def test_step_credit_takes_the_place_of_the_outcome():
    """Rewards 1, 0: a unit of reward is 1 / .7071 = 1.414. The first root gained .5 in its second step only."""
    roots = [root(1.0, 1, 2, 3, 4), root(0.0, 5, 6)]
    credit = StepCredit(0.5, (2, 4), (0.0, 0.5), (1.0, 1.0))
    found = credited(method("steps", 8), 0, 0, 6, roots, GroupResult([Reentry(0, (2, 4), (), None, (), credit)]))
    first, second = found.learnt
    assert first.runs == ((2, 0.0), (4, pytest.approx(0.7071, abs=1e-4)))
    assert second.runs == ((2, pytest.approx(-0.7071, abs=1e-4)),)


def test_down_sampling_trains_on_the_rows_that_vary_most():
    """Of 1, 0, 0, 0 two are kept, the one that is right and a wrong one: +-.7071."""
    roots = [root(0.0, 1), root(0.0, 2), root(1.0, 3), root(0.0, 4)]
    found = credited(method("pods", 2), 0, 0, 4, roots, GroupResult())
    assert found.rows == found.trained == 2 and found.rewards == (0.0, 0.0, 1.0, 0.0)
    assert [row.token_ids for row in found.learnt] == [(1,), (3,)]
    assert [row.runs[0][1] for row in found.learnt] == pytest.approx([-0.7071, 0.7071], abs=1e-4)


def test_records_survive_a_crash(tmp_path):
    path = tmp_path / "groups.jsonl"
    one = drawn(rows=[((1, 2, 3), 1, [(3, 0.5)])])
    append(path, one)
    with path.open("a") as out:
        out.write('{"method": "gr')
    assert read(path) == [one] and one.learnt == (Row((1, 2, 3), 1, ((3, 0.5),)),)
    rewrite(path, [one])
    append(path, one)
    assert read(path) == [one, one]
    path.write_text('{"method": "grpo"}\n' + one.to_json() + "\n")
    with pytest.raises(ValueError, match="line 1: not a group"):
        read(path)
