"""Drawing continuations: how many at once, in which order, how long, and what it cost."""

import asyncio
import random
from dataclasses import replace

import pytest

from tests.core.fakes import LENGTH, CoinPolicy, FakePolicy, pairs_of_tokens, root
from verl_gpo.config import GPOConfig
from verl_gpo.core.budget import TokenBudget
from verl_gpo.core.draw import Draw, Usage
from verl_gpo.core.reentry import ReentryEngine


def together(policy, plan, max_tokens=0, slots=99, seed="s"):
    usage, budget = Usage(), TokenBudget()

    async def go():
        draw = Draw(policy, policy, LENGTH, seed, asyncio.Semaphore(slots), budget)
        return await draw.together(plan, max_tokens, usage)

    return asyncio.run(go()), usage, budget


def test_what_comes_back_is_sorted_by_prefix_in_the_order_asked():
    policy = FakePolicy({1: [0.1, 0.2, 0.3], 2: [0.9]}, fail_sampling={2})
    drawn, usage, budget = together(policy, {(5,): 3, (5, 6): 1})
    assert [sample.reward for sample in drawn[5,]] == [0.1, 0.2] and [s.reward for s in drawn[5, 6]] == [0.9]
    assert (usage.requests, usage.tokens, usage.sampling_failures) == (4, 6, 1) and budget.spent == 6


@pytest.mark.parametrize(("bound", "asked"), [(0, LENGTH - 1), (3, 3), (100, LENGTH - 1)])
def test_a_continuation_is_bounded_by_the_response_and_by_the_setting(bound, asked):
    policy = FakePolicy({1: [0]})
    together(policy, {(5,): 1}, max_tokens=bound)
    assert policy.requests[0][1] == asked


def test_a_prefix_without_room_is_not_asked_for():
    drawn, usage, _ = together(FakePolicy({}), {tuple(range(LENGTH)): 2})
    assert drawn == {tuple(range(LENGTH)): ()} and usage.requests == 0


def test_tokens_of_a_response_that_could_not_be_scored_were_paid_for():
    drawn, usage, budget = together(FakePolicy({1: [1]}, fail_scoring={1}), {(5,): 2})
    assert len(drawn[5,]) == 1 and usage.scoring_failures == 1
    assert usage.tokens == budget.spent == 4


def test_context_is_counted_only_where_the_engine_says_what_was_cached():
    class Silent(FakePolicy):
        async def sample(self, prefix, max_tokens, seed):
            return replace(await super().sample(prefix, max_tokens, seed), cached_tokens=None)

    assert together(Silent({4: [1]}), {(1, 2, 3, 4): 2})[1].context_tokens == 0
    usage = together(FakePolicy({4: [1]}), {(1, 2, 3, 4): 2})[1]
    assert (usage.context_tokens, usage.cached_tokens) == (8, 4)


def test_the_order_of_completion_changes_nothing():
    def rewards(seed):
        waits = random.Random(seed)
        policy = CoinPolicy(lambda n: 0.5, patience=lambda: waits.randrange(6), failure_rate=0.2)
        drawn, _, _ = together(policy, {(1,): 12, (1, 2): 12}, slots=5)
        return {prefix: [sample.reward for sample in samples] for prefix, samples in drawn.items()}

    assert rewards(0) == rewards(1) == rewards(2)


def test_seeds_differ_between_requests_rounds_and_prompts():
    def seeds(name):
        policy = FakePolicy({1: [0], 2: [0]})

        async def go():
            draw = Draw(policy, policy, LENGTH, name, asyncio.Semaphore(9), TokenBudget())
            await draw.together({(5,): 3}, 0, Usage())
            await draw.together({(5,): 2, (5, 6): 1}, 0, Usage())

        asyncio.run(go())
        return [seed for _, _, seed in policy.requests]

    assert len(set(seeds("a") + seeds("b"))) == 12
    assert seeds("a") == seeds("a")


@pytest.mark.parametrize("search", ["uniform", "adaptive"])
def test_all_prompts_together_keep_within_the_slots(search):
    policy = FakePolicy({n: [0, 1] for n in range(LENGTH)})
    config = GPOConfig(max_in_flight=3, search=search, n_mc=4)

    async def go():
        engine = ReentryEngine(config, pairs_of_tokens, LENGTH)
        roots = [root(), root(reward=0.0, first=50)]
        return await asyncio.gather(*(engine.run(roots, policy, policy, f"p{n}") for n in range(4)))

    results = asyncio.run(go())
    assert policy.most_in_flight == 3
    assert sum(usage.requests for result in results for usage in result.usage.values()) == len(policy.requests) > 12


def test_a_slot_is_given_back_by_a_request_that_fails():
    _, usage, _ = together(FakePolicy({1: [1]}, fail_sampling={1, 2, 3}), {(5,): 6}, slots=1)
    assert (usage.requests, usage.sampling_failures) == (6, 3)
