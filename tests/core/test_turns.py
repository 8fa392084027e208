"""Turns by hand, and invariants: a step holds the policy's tokens only, and a state ends where the policy writes."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.fakes import FakePolicy, run
from verl_gpo.config import GPOConfig
from verl_gpo.core.draw import Draw, Usage, Wanted
from verl_gpo.core.reentry import prompt_limit
from verl_gpo.core.scheduler import Scheduler
from verl_gpo.core.segment.steps import build_splitter
from verl_gpo.core.turns import answered, limit_turn_steps, split_turns, step_starts, turns
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory

#: The example of the module: two turns, the first of two steps.
WRITTEN = (1, 1, 1, 1, 0, 0, 0, 1, 1, 1)


def twos(token_ids, log_probs=None):
    return [*range(2, len(token_ids), 2), len(token_ids)] if token_ids else []


def whole(token_ids, log_probs=None):
    return [len(token_ids)] if token_ids else []


def test_the_example_by_hand():
    assert turns(WRITTEN) == [(0, 4), (7, 10)]
    assert split_turns(whole, range(10), None, WRITTEN) == [4, 10]
    assert split_turns(twos, range(10), None, WRITTEN) == [2, 4, 9, 10]
    assert step_starts([2, 4, 10], WRITTEN) == (0, 2, 7)
    assert answered([2, 4, 10], WRITTEN) == [False, True, False]


@pytest.mark.parametrize(
    ("written", "expected"),
    [((), []), ((0, 0), []), ((1,), [(0, 1)]), ((0, 1, 0, 0, 1, 1), [(1, 2), (4, 6)]), ((1, 0), [(0, 1)])],
)
def test_turns_by_hand(written, expected):
    assert turns(written) == expected


def test_without_a_mask_everything_is_the_policys():
    assert split_turns(twos, range(5)) == [2, 4, 5]
    assert step_starts([2, 4, 5]) == (0, 2, 4) and step_starts([]) == ()
    assert answered([2, 4, 5], None) == [False] * 3


def test_an_answer_behind_the_last_turn_belongs_to_no_step():
    written = (1, 1, 0, 1, 0, 0)
    assert split_turns(whole, range(6), None, written) == [2, 4]
    assert step_starts([2, 4], written) == (0, 3) and answered([2, 4], written) == [True, True]


def test_a_splitter_sees_one_turn_with_its_log_probs():
    seen = []

    def splitter(token_ids, log_probs=None):
        seen.append((list(token_ids), list(log_probs)))
        return [len(token_ids)]

    split_turns(splitter, range(10), [-float(i) for i in range(10)], WRITTEN)
    assert seen == [([0, 1, 2, 3], [0.0, -1.0, -2.0, -3.0]), ([7, 8, 9], [-7.0, -8.0, -9.0])]


@pytest.mark.parametrize(
    ("most", "ends"),
    [
        (0, [1, 2, 3, 4, 9, 10]),
        (6, [1, 2, 3, 4, 9, 10]),
        # The first turn has four steps and the second two; of equals the first keeps one more.
        (5, [1, 2, 4, 9, 10]),
        (4, [1, 2, 4, 10]),
        (3, [2, 4, 10]),
        (2, [4, 10]),
        (1, [10]),  # fewer than turns: whole turns are merged
    ],
)
def test_steps_of_the_same_turn_are_merged_first(most, ends):
    assert limit_turn_steps([1, 2, 3, 4, 9, 10], WRITTEN, most) == ends


def test_a_merged_step_over_turns_starts_and_ends_with_the_policy():
    assert step_starts([10], WRITTEN) == (0,) and answered([10], WRITTEN) == [True]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 1), max_size=40), st.integers(1, 5), st.integers(0, 8))
def test_steps_are_the_policys_tokens_and_states_end_where_it_writes(written, size, most):
    splitter = build_splitter("tokens", str(size), lambda ids: "")
    ends = split_turns(splitter, range(len(written)), None, written, most)
    starts = step_starts(ends, written)
    assert (ends == []) == (1 not in written)
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert all(written[start] == 1 for start in starts) and all(written[end - 1] == 1 for end in ends)
    # Every token of the policy's is in exactly one step.
    covered = [i for start, end in zip(starts, ends, strict=True) for i in range(start, end) if written[i]]
    assert covered == [i for i, own in enumerate(written) if own]
    if not most or most >= len(turns(written)):
        assert all(all(written[start:end]) for start, end in zip(starts, ends, strict=True))
    if most:
        assert len(ends) <= most


# ------------------------------------------------------------------------------------------------ in the procedure


def dialogue(reward=1.0, first=0):
    """Turns of 4 and 3 tokens with an answer of 3 in between."""
    log_probs = tuple(-1.0 if own else 0.0 for own in WRITTEN)
    return Trajectory(tuple(range(first, first + 10)), log_probs, reward, written=WRITTEN)


def test_continuations_are_drawn_where_the_policy_writes_and_never_within_an_answer():
    policy = FakePolicy({0: [0.5], 2: [0.0], 7: [1.0], 9: [1.0]})
    result = run(policy, [dialogue(), dialogue(0.0, first=20)], splitter=twos, n_mc=2, n_reentry=3)
    (reentry,) = result.reentries
    # V = .5 0 1 1 | 1 at 0, 2, 7 and 9 tokens: the second step, from 2 to 4, gains most.
    assert reentry.ends == (2, 4, 9, 10) and reentry.critical.index == 1
    assert policy.asked() == {2: 2 + 3, 7: 2, 9: 2}
    assert [group.prefix for group in reentry.groups] == [(0, 1)]


def test_only_what_the_policy_wrote_counts_as_cost_and_a_bounded_continuation_as_cut():
    class Tools(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            return Continuation((1, 2, 3, 4), None, written=(1, 0, 0, 1), bounded=max_tokens < 5)

    policy, usage = Tools({0: [1.0]}), Usage()
    draw = Draw(policy, policy, 12, "s", Scheduler(4))
    drawn = asyncio.run(draw.together([Wanted((), 0, 2, 1.0)], lambda state: state, usage, max_tokens=6))
    assert usage.tokens == 2 * 2 and usage.cut == 0 and not any(sample.cut for sample in drawn[()].samples)
    drawn = asyncio.run(draw.together([Wanted((), 0, 1, 1.0)], lambda state: state, usage, max_tokens=4))
    assert usage.cut == 1 and drawn[()].samples[0].cut  # four tokens of four
    one = drawn[()].samples[0].continuation
    assert list(one.written) == [1, 0, 0, 1] and one.written_tokens == 2


def test_a_continuation_that_an_answer_did_not_fit_into_is_cut_although_it_is_shorter():
    class Tools(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            return Continuation((1, 2), None, written=(1, 1), bounded=True)

    policy, usage = Tools({0: [1.0]}), Usage()
    draw = Draw(policy, policy, 12, "s", Scheduler(4))
    for bound, cuts in ((6, 1), (0, 1)):  # where the response itself ends it, it is what the policy would have done
        asyncio.run(draw.together([Wanted((), 0, 1, 1.0)], lambda state: state, usage, max_tokens=bound))
        assert usage.cut == cuts


def test_a_ceiling_counts_the_policys_tokens():
    assert prompt_limit(GPOConfig(cost_ceiling=2.0), [dialogue(), dialogue()]) == 2 * 14


def test_anchors_share_a_state_only_if_the_same_speakers_wrote_it():
    one = dialogue()
    ids, log_probs = (*one.token_ids, 99), (*one.log_probs, -1.0)
    same = Trajectory(ids, log_probs, 0.0, written=(*WRITTEN, 1))
    alone = Trajectory(ids, log_probs, 0.0)  # the policy itself wrote what looks like an answer

    def at_seven(token_ids, log_probs=None):
        return [7, len(token_ids)] if len(token_ids) > 7 else whole(token_ids)

    for other, valued in ((same, 1), (alone, 2)):
        policy = FakePolicy({0: [0.5], 7: [1.0]})
        run(policy, [one, other], splitter=at_seven, n_mc=1, anchors=2, learn_from="reuse")
        assert policy.asked()[7] == valued


def test_a_root_of_a_continuation_keeps_its_mask():
    scored = ScoredContinuation(Continuation((1, 2), (-1.0, 0.0), written=(1, 0)), 1.0)
    assert scored.trajectory() == Trajectory((1, 2), (-1.0, 0.0), 1.0, written=(1, 0))
    with pytest.raises(ValueError, match="written has 1 entries for 2 tokens"):
        Trajectory((1, 2), None, 1.0, written=(1,))
    assert math.isclose(dialogue().written_tokens, 7)
