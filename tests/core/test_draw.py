"""Drawing continuations: how many at once, in which order, how long, and what it cost."""

import asyncio
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.core.fakes import LENGTH, CoinPolicy, FakePolicy, pairs_of_tokens, root
from verl_gpo.config import GPOConfig
from verl_gpo.core.budget import Account
from verl_gpo.core.draw import Draw, Usage, Wanted, all_or_none
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.scheduler import Scheduler
from verl_gpo.core.types import StalledError


def wanted(counts):
    """Two tokens are expected of each continuation; a state is named by its prefix."""
    return [Wanted(prefix, len(prefix), count, 2.0) for prefix, count in counts.items()]


def together(policy, counts, max_tokens=0, slots=99, seed="s", keep=True):
    """Samples by prefix, the usage, and the account."""
    usage, account = Usage(), Account()

    async def go():
        draw = Draw(policy, policy, LENGTH, seed, Scheduler(slots), account)
        return await draw.together(wanted(counts), lambda prefix: prefix, usage, max_tokens, keep)

    drawn = asyncio.run(go())
    assert account.reserved == 0
    return {prefix: came.samples for prefix, came in drawn.items()}, usage, account


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
        async def sample(self, prefix, max_tokens, seed, lane=0):
            return replace(await super().sample(prefix, max_tokens, seed, lane), cached_tokens=None)

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
            draw = Draw(policy, policy, LENGTH, name, Scheduler(9))
            for counts in ({(5,): 3}, {(5,): 2, (5, 6): 1}):
                await draw.together(wanted(counts), lambda prefix: prefix, Usage())

        asyncio.run(go())
        return [seed for _, _, seed in policy.requests]

    assert len(set(seeds("a") + seeds("b"))) == 12
    assert seeds("a") == seeds("a")


@pytest.mark.parametrize("search", ["uniform", "adaptive"])
def test_all_prompts_together_keep_within_the_slots(search):
    policy = FakePolicy({n: [0, 1] for n in range(LENGTH)})
    config = GPOConfig(max_in_flight=3, search=search, n_mc=4)

    async def go():
        engine = ReentryProcedure(config, pairs_of_tokens, LENGTH)
        roots = [root(), root(reward=0.0, first=50)]
        return await asyncio.gather(*(engine.run(roots, policy, policy, f"p{n}") for n in range(4)))

    results = asyncio.run(go())
    assert policy.most_in_flight == 3
    assert sum(usage.requests for result in results for usage in result.usage.values()) == len(policy.requests) > 12


def test_a_slot_is_given_back_by_a_request_that_fails():
    _, usage, _ = together(FakePolicy({1: [1]}, fail_sampling={1, 2, 3}), {(5,): 6}, slots=1)
    assert (usage.requests, usage.sampling_failures) == (6, 3)


@pytest.mark.parametrize(
    "reward",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        None,
        "right",
        "1.0",
        {"score": 1.0},
        10**400,
        np.nan,
        torch.tensor(float("inf")),
        torch.ones(2),
        np.ones(2),
    ],
    ids=repr,
)
def test_a_reward_that_is_no_finite_number_is_a_reward_that_failed(reward):
    drawn, usage, _ = together(FakePolicy({1: [reward, 1.0]}), {(5,): 2})
    assert [sample.reward for sample in drawn[5,]] == [1.0] and usage.scoring_failures == 1


@pytest.mark.parametrize("one", [1, True, np.float32(1), np.bool_(True), np.array(1.0), torch.tensor(1.0)], ids=repr)
def test_every_kind_of_number_is_a_reward(one):
    drawn, usage, _ = together(FakePolicy({1: [one, 0.5]}), {(5,): 2})
    assert [sample.reward for sample in drawn[5,]] == [1.0, 0.5] and usage.scoring_failures == 0
    assert all(type(sample.reward) is float for sample in drawn[5,])


def test_a_continuation_that_is_given_up_is_censored():
    class Stalls(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            found = await super().sample(prefix, max_tokens, seed, lane)
            if len(self.requests) == 2:
                raise StalledError("given up", tokens=5)
            return found

    policy, usage, account = Stalls({1: [1]}), Usage(), Account()

    async def go():
        draw = Draw(policy, policy, LENGTH, "s", Scheduler(1), account)
        return await draw.together(wanted({(5,): 3}), lambda prefix: prefix, usage)

    (came,) = asyncio.run(go()).values()
    assert (len(came.samples), came.censored, usage.censored, usage.sampling_failures) == (2, 1, 1, 0)
    assert account.spent == 2 + 5 + 2


def test_what_only_gives_a_value_keeps_no_tokens():
    kept, _, _ = together(FakePolicy({1: [0.5]}), {(5,): 1})
    light, usage, _ = together(FakePolicy({1: [0.5]}), {(5,): 1}, keep=False)
    (kept,), (light,) = kept[5,], light[5,]
    assert tuple(kept.continuation.token_ids) == (7, 8) and tuple(kept.continuation.log_probs) == (-0.5, -0.5)
    assert (len(light.continuation.token_ids), light.continuation.log_probs, light.source) == (0, None, None)
    assert light.reward == kept.reward == 0.5 and usage.tokens == 2


def test_a_prefix_is_made_when_there_is_a_slot():
    made = []

    class Waits(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            assert len(made) <= self.in_flight + len(self.requests) + 1
            return await super().sample(prefix, max_tokens, seed, lane)

    async def go():
        policy = Waits({n: [1] for n in range(9)})
        draw = Draw(policy, policy, LENGTH, "s", Scheduler(1))
        counts = {tuple(range(n)): 1 for n in range(9)}
        await draw.together(wanted(counts), lambda prefix: made.append(prefix) or prefix, Usage())

    asyncio.run(go())
    assert len(made) == 9


def test_a_large_round_uses_several_lanes_and_a_state_keeps_to_its_own():
    lanes = []

    class Lanes(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            lanes.append((prefix, lane))
            return await super().sample(prefix, max_tokens, seed, lane)

    together(Lanes({1: [1], 2: [1], 3: [1]}), {(5,): 64, (5, 6): 64, (5, 6, 7): 3})
    assert {prefix: {lane for other, lane in lanes if other == prefix} for prefix, _ in lanes} == {
        (5,): {0},
        (5, 6): {1},
        (5, 6, 7): {2},
    }


def test_an_unexpected_error_leaves_nothing_running():
    class Breaks(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            if len(self.requests) == 1:
                raise KeyError("a bug")
            self.requests.append((prefix, max_tokens, seed))
            await asyncio.sleep(3600)

    async def go():
        policy, scheduler, account = Breaks({}), Scheduler(9), Account()
        draw = Draw(policy, policy, LENGTH, "s", scheduler, account)
        with pytest.raises(KeyError, match="a bug"):
            await draw.together(wanted({(5,): 4}), lambda prefix: prefix, Usage())
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert (scheduler.held, account.reserved, others) == (0, 0, set())

    asyncio.run(go())


def test_all_or_none_of_what_succeeds_is_all():
    async def one(number):
        return number

    async def go():
        return await all_or_none([one(number) for number in range(3)])

    assert asyncio.run(go()) == [0, 1, 2]
