"""Which prompts are too late for the shadow of the longest root, worked out by hand."""

import asyncio
import math

import pytest

from tests.core.fakes import FakePolicy, every_way, pairs_of_tokens, root
from verl_gpo.config import GPOConfig
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.shadow import Chain, Shadow
from verl_gpo.core.types import Continuation, Trajectory

# The limit that follows from the training steps before.


def seen(share=1.0, fitting=0.5, **steps):
    shadow = Shadow(share, fitting)
    for name, prompts in steps.items():
        for longest, chain in prompts:
            shadow.note(int(name[1:]), longest, chain)
    return shadow


def test_the_limit_is_a_multiple_of_the_longest_root_of_the_steps_before():
    shadow = seen(1.1, s1=[(100, 300), (1000, 900)], s2=[(500, 200)])
    assert shadow.limit(2) == pytest.approx(1100.0)
    assert shadow.limit(5) == pytest.approx(1100.0)  # four steps are remembered
    assert shadow.limit(6) == pytest.approx(550.0)
    assert shadow.limit(1) == math.inf  # a step does not limit itself
    assert shadow.limit(9) == math.inf


def test_where_few_prompts_fit_there_is_no_shadow_and_no_limit():
    # All roots have 40 tokens and chains of 120: the limit would turn the search off.
    assert seen(s1=[(40, 120)] * 8).limit(2) == math.inf
    assert seen(s1=[(40, 120)] * 3 + [(200, 600)]).limit(2) == 200.0
    assert seen(s1=[(40, 120)] * 4 + [(100, 90)] * 4).limit(2) == 100.0  # half of them fit
    assert seen(s1=[(40, 120)] * 5 + [(100, 90)] * 4).limit(2) == math.inf
    assert seen(fitting=0.1, s1=[(40, 120)] * 9 + [(100, 90)]).limit(2) == 100.0


def test_without_a_share_there_is_no_limit():
    assert seen(0.0, s1=[(40, 10)] * 8).limit(2) == math.inf


def test_a_chain_by_hand():
    chain = Chain(30, 50.0)
    assert chain.fits(20) and not chain.fits(21) and chain.room == 20
    chain.tokens += 40
    assert chain.room == 1  # a request has at least one token
    assert Chain(30).room == 0 and Chain(30).fits(10**9)


def test_time_that_has_passed_counts_as_tokens_of_the_longest_root():
    shadow = Shadow(1.0)
    shadow.note(1, 100, 300, seconds=4.0)
    shadow.note(1, 1000, 900, seconds=20.0)
    shadow.note(2, 500, 200, seconds=25.0)  # it waited for a place in the engine
    assert shadow.speed(2) == 50.0 and shadow.speed(3) == 40.0 and shadow.speed(6) == 20.0
    assert shadow.speed(1) == shadow.speed(9) == seen(s1=[(100, 300)]).speed(2) == 0.0
    seconds = 10.0
    chain = Chain(300, 1000.0, passed=lambda: 40.0 * seconds)
    assert chain.length == 400 and chain.fits(600) and not chain.fits(601) and chain.room == 600
    seconds = 5.0
    assert chain.length == 300 and chain.room == 700
    seconds = 30.0
    assert not chain.fits(0) and chain.room == 1


# What a prompt does under a limit. Roots of 8 tokens in four steps; continuations have 2 tokens.

REWARDS = {0: [1, 0], 2: [0, 1], 4: [0, 1], 6: [0, 1]}


def run(limit, policy=None, roots=None, passed=lambda: 0.0, **settings):
    policy = policy or FakePolicy(REWARDS)
    engine = ReentryProcedure(GPOConfig(**settings), pairs_of_tokens, 12)
    roots = roots or [root(), root(reward=0.0, first=50)]
    result = asyncio.run(engine.run(roots, policy, policy, longest_chain=limit, passed=passed))
    return result, policy


def test_a_prompt_that_waited_for_the_engine_is_searched_less_or_not_re_entered():
    # The chain is 8 + 8 + 8 by tokens. By the time it is longer, from the first look on or only after the search.
    assert not run(24)[0].shortened and not run(24, passed=lambda: 8.0)[0].late
    late, policy = run(24, passed=lambda: 9.0)
    assert late.shortened and not late.late and late.usage["value"].requests == 0
    looks = iter([8.0, 8.0])
    late, _ = run(24, passed=lambda: next(looks, 17.0))
    assert not late.shortened and late.late and late.usage["reentry"].requests == 0


def test_the_whole_chain_is_root_round_and_reentry():
    # uniform: 8 + 8 + 8; bisection of four steps: two rounds; random: none; no re-entry with search=none.
    assert run(math.inf)[0].chain == 24
    assert run(math.inf, search="bisection")[0].chain == 32
    assert run(math.inf, search="random")[0].chain == 16
    assert run(math.inf, search="none")[0].chain == 8
    assert run(math.inf, max_continuation_tokens=3, partial_rewards=True)[0].chain == 8 + 3 + 8
    # adaptive: 12 continuations, four of which are for the group, in rounds of four.
    fast = {"search": "adaptive", "search_budget": 12, "learn_from": "reuse"}
    assert run(math.inf, **fast)[0].chain == 8 + 2 * 8 + 8


def test_with_just_enough_room_nothing_is_left_out():
    result, policy = run(24)
    free, other = run(math.inf)
    assert not result.shortened and not result.late and policy.requests == other.requests
    assert result.reentries == free.reentries


def test_with_room_for_a_rollout_alone_the_step_is_chosen_without_a_search():
    result, _ = run(23)
    assert result.shortened and result.usage["value"].requests == 0
    assert result.usage["reentry"].requests > 0 and not result.late


def test_without_room_for_a_rollout_there_is_no_reentry():
    # From s_k a rollout of 8 - 2 k tokens is expected; at 9 none of them has room.
    result, policy = run(9, search="random")
    assert result.late and not policy.requests and result.reentries[0].rollouts == ()
    assert result.reentries[0].critical is not None  # it is shown, and not learnt from


def test_a_search_in_rounds_stops_when_its_answers_were_long():
    class Long(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            await super().sample(prefix, max_tokens, seed, lane)
            return Continuation((7,) * min(6, max_tokens), source=1)

    # Bisection: two rounds are expected. 8 + 6 of the first; a second and a rollout would make 30.
    result, policy = run(29, Long(REWARDS), search="bisection")
    assert result.shortened and result.usage["value"].requests == 4
    result, policy = run(30, Long(REWARDS), search="bisection")
    assert not result.shortened and result.usage["value"].requests == 8


def test_a_group_whose_long_rollouts_are_cut_is_dropped():
    class Long(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            number = (await super().sample(prefix, max_tokens, seed, lane)).source
            return Continuation((7,) * min(5 if number == 4 else 1, max_tokens), source=number)

    roots = [Trajectory(tuple(range(4)), None, 1.0), Trajectory(tuple(range(50, 54)), None, 0.0)]
    policy = Long({0: [1], 2: [1, 0]})
    # Roots of 4 tokens: from s_0 4 are expected and 4 are allowed, but the fourth rollout would have 5.
    result, _ = run(8, policy, roots, search="random")
    assert result.usage["reentry"].cut == 1 and result.late and result.reentries[0].groups == ()
    kept, _ = run(10, Long({0: [1], 2: [1, 0]}), roots, search="random")
    assert not kept.late and len(kept.reentries[0].rollouts) == 4


def test_rows_that_have_to_be_filled_are_never_late():
    # Instead of re-entry rollouts, roots would have to be drawn, which would take even longer.
    roots = [root(), root(reward=0.0, first=50)]
    result, policy = run(9, roots=roots, search="random", rows="matched")
    assert not result.late and result.usage["reentry"].requests == 4
    assert run(23, roots=roots, rows="matched")[0].shortened


@every_way
def test_under_any_limit_every_way_keeps_its_books(search, learn_from):
    for limit in (1, 8, 15, 16, 24, 40):
        settings = {"search": search, "learn_from": learn_from, "n_reentry": 3}
        result, policy = run(limit, **settings)
        assert sum(usage.requests for usage in result.usage.values()) == len(policy.requests)
        for reentry in result.reentries:
            assert not any(rollout.cut for rollout in reentry.rollouts)
