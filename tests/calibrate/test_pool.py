"""The pool: collected, interrupted, read again, and dealt out."""

import asyncio
import math
import random
from collections import Counter

import pytest

from verl_gpo.calibrate.pool import PooledResponse, collect, pool_prompt, read_pool
from verl_gpo.calibrate.replay import PoolPolicy
from verl_gpo.core.types import Continuation, SamplingError, ScoredContinuation, ScoringError


def pooled(prompt=0, draws=(((2, 1.0), (3, 0.0)), ((1, 1.0), (1, 1.0))), **changes):
    """Three steps of two tokens, right, in a group that is half right."""
    fields = {
        "prompt": prompt,
        "token_ids": (5, 6, 7, 8, 9, 10),
        "log_probs": (-0.5, -0.25, 0.0, -1.0, -2.0, -0.125),
        "ends": (2, 4, 6),
        "reward": 1.0,
        "group_rewards": (1.0, 0.0),
        "group_tokens": (6, 4),
        "draws": draws,
        "response_length": 12,
    }
    return PooledResponse(**{**fields, **changes})


def test_reference_values_by_hand():
    # Group 1 0; s_1: 1 0; s_2: 1 1; the outcome 1. A state where everything was lost is unknown.
    assert pooled().values == [0.5, 0.5, 1.0, 1.0]
    assert math.isnan(pooled(draws=((), ((1, 1.0),))).values[1])


@pytest.mark.parametrize("log_probs", [None, (-0.1,) * 6])
def test_a_response_survives_json(log_probs):
    response = pooled(log_probs=log_probs, draws=((), ((3, -0.5),)))
    assert PooledResponse.from_json(response.to_json()) == response
    assert "\n" not in response.to_json()


def test_a_pool_that_does_not_exist_is_empty(tmp_path):
    assert read_pool(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("keep", [0, 1, 10, -1])
def test_a_last_line_that_was_cut_off_is_left_out(tmp_path, keep):
    path = tmp_path / "pool.jsonl"
    last = pooled(2).to_json()
    path.write_text(f"{pooled(0).to_json()}\n{pooled(1).to_json()}\n{last[:keep]}")
    assert [response.prompt for response in read_pool(path)] == [0, 1]


def collecting(path, prompts, wanted, empty=(), at_once=2):
    asked, told = [], []

    async def pool_one(prompt):
        asked.append(prompt)
        for _ in range(random.Random(prompt).randrange(5)):
            await asyncio.sleep(0)
        return None if prompt in empty else pooled(prompt)

    pool = asyncio.run(collect(path, prompts, pool_one, wanted, at_once, told.append))
    assert pool == read_pool(path)
    return [response.prompt for response in pool], asked, told


def test_it_collects_as_many_as_wanted_and_no_more(tmp_path):
    found, asked, told = collecting(tmp_path / "a" / "pool.jsonl", range(100), 5, empty={1, 3})
    assert len(found) == len(set(found)) == 5 and not {1, 3} & set(found)
    assert len(asked) <= 5 + 2 + 1  # the two that gave nothing, and one that was under way
    assert told == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("at_once", [1, 4, 50])
def test_no_more_than_there_are(tmp_path, at_once):
    found, asked, _ = collecting(tmp_path / "pool.jsonl", range(6), 20, at_once=at_once)
    assert sorted(found) == sorted(asked) == list(range(6))


def test_an_interrupted_collection_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "pool.jsonl"
    before, _, _ = collecting(path, range(10), 3)
    lines = path.read_text()
    path.write_text(lines + pooled(99).to_json()[:40])  # cut off while it was written
    found, asked, told = collecting(path, range(10), 6)
    assert found[:3] == before and len(set(found)) == 6
    assert not set(before) & set(asked) and told[0] == 3
    assert path.read_text().startswith(lines)


def test_a_full_pool_asks_for_nothing(tmp_path):
    path = tmp_path / "pool.jsonl"
    before, _, _ = collecting(path, range(10), 4)
    assert collecting(path, range(10), 4) == (before, [], [4])


def test_a_crash_keeps_what_was_finished(tmp_path):
    path = tmp_path / "pool.jsonl"

    async def pool_one(prompt):
        if prompt == 3:
            raise RuntimeError("the engine died")
        return pooled(prompt)

    with pytest.raises(RuntimeError, match="the engine died"):
        asyncio.run(collect(path, range(10), pool_one, 8, at_once=1))
    assert [response.prompt for response in read_pool(path)] == [0, 1, 2]


class Policy:
    """Roots of the lengths given, continuations of one token; rewards and losses by the number of the request."""

    def __init__(self, lengths, lost=(), unscored=(), rewards=(1.0,)):
        self.lengths, self.lost, self.unscored, self.rewards = lengths, set(lost), set(unscored), rewards
        self.asked = []

    async def sample(self, prefix, max_tokens, seed, lane=0):
        self.asked.append((prefix, max_tokens, seed))
        await asyncio.sleep(0)
        if seed in self.lost:
            raise SamplingError("lost")
        tokens = tuple(range(self.lengths[seed])) if not prefix else (1,)
        return Continuation(tokens, (-0.5,) * len(tokens), source=seed)

    async def score(self, prefix, continuation):
        if continuation.source in self.unscored:
            raise ScoringError("broken")
        return ScoredContinuation(continuation, self.rewards[continuation.source % len(self.rewards)])


def twos(token_ids, log_probs=None):
    return list(range(2, len(token_ids) + 1, 2))


def pool_one(policy, roots=2, reference=3, **settings):
    return asyncio.run(pool_prompt(7, policy, policy, twos, 10, roots, reference, **settings))


def test_a_pooled_prompt_by_hand():
    # Two roots of 6 and 4 tokens: the first has three steps, so two inner states with three draws each.
    policy = Policy([6, 4])
    response = pool_one(policy)
    assert (response.prompt, response.ends, response.group_tokens, response.response_length) == (
        7,
        (2, 4, 6),
        (6, 4),
        10,
    )
    assert response.draws == (((1, 1.0),) * 3,) * 2
    assert Counter(prefix for prefix, _, _ in policy.asked) == {(): 2, (0, 1): 3, (0, 1, 2, 3): 3}
    assert {most for _, most, _ in policy.asked} == {10, 8, 6}
    assert len({seed for _, _, seed in policy.asked}) == 8


def test_the_anchor_stands_first_in_its_group():
    # Rewards by number: 0 1 0 1 ... The second root is the first that failed not.
    response = pool_one(Policy([6, 4, 8], rewards=(0.0, 1.0)), roots=3, outcome="solved")
    assert (response.reward, response.group_rewards, response.group_tokens) == (1.0, (1.0, 0.0, 0.0), (4, 6, 8))


def test_draws_that_fail_are_missing_and_the_others_are_kept():
    # Requests 2 3 4 are s_1's, 5 6 7 are s_2's. Root 1 is lost, too.
    response = pool_one(Policy([6, 4], lost={1, 2, 5, 6, 7}, unscored={3}))
    assert response.group_tokens == (6,)
    assert response.draws == (((1, 1.0),), ())


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        (Policy([6, 4], lost={0, 1}), {}),
        (Policy([2, 2]), {}),  # one step each
        (Policy([6, 4]), {"outcome": "failed"}),
    ],
    ids=["all lost", "one step", "none of that outcome"],
)
def test_a_prompt_without_a_response_to_search_gives_none(policy, settings):
    assert pool_one(policy, **settings) is None


def test_a_response_of_one_step_does_not_hide_one_that_can_be_searched():
    # "None where no response of the group has at least two steps and the outcome wanted": the second has three.
    response = pool_one(Policy([2, 6]))
    assert response is not None and response.ends == (2, 4, 6)


# Dealt out again.


def deal(policy, prefix, count):
    async def go():
        return [await policy.score(prefix, await policy.sample(prefix, 9, 0)) for _ in range(count)]

    return [(len(sample.continuation.token_ids), sample.reward) for sample in asyncio.run(go())]


def test_each_draw_is_dealt_once_before_any_comes_again():
    draws = tuple((length, float(length % 2)) for length in range(1, 8))
    response = pooled(draws=(draws, draws))
    policy = PoolPolicy(response, random.Random(0))
    first, second = deal(policy, (5, 6), 7), deal(policy, (5, 6), 7)
    assert sorted(first) == sorted(second) == sorted(draws)
    assert first != list(draws) or second != list(draws)  # shuffled
    assert sorted(deal(policy, (5, 6, 7, 8), 7)) == sorted(draws)  # another state, another deck
    assert sorted(deal(policy, (), 2)) == [(4, 0.0), (6, 1.0)]  # at the prompt it is the group that is dealt


def test_a_state_whose_draws_all_failed_has_none_to_deal():
    with pytest.raises(SamplingError):
        deal(PoolPolicy(pooled(draws=((), ((1, 1.0),))), random.Random(0)), (5, 6), 1)
