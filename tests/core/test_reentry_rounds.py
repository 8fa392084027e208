"""Rounds of requests, repeatability, rewards on other scales, and what holds whatever happens."""

import asyncio
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.fakes import LENGTH, CoinPolicy, FakePolicy, balance, every_way, pairs_of_tokens, root, run
from verl_gpo.config import GPOConfig
from verl_gpo.core.learn import LEARN_FROM
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.types import Trajectory

# Rounds.


def test_identical_prefixes_are_valued_once():
    # Two anchors that agree on their first two steps: states 1 and 2 are shared, state 3 is not.
    shared = [root(), Trajectory((0, 1, 2, 3, 20, 21, 22, 23), None, 0.0)]
    policy = FakePolicy({2: [0.5], 4: [0.5], 6: [0.5]})
    result = run(policy, shared, anchors=2, n_mc=3)
    assert result.usage["value"].requests == 3 * (2 + 2)
    assert result.reentries[0].values[1] is result.reentries[1].values[1]


def test_all_requests_of_a_round_are_in_flight_together():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    run(policy, [root(), root(reward=0.0)], n_mc=4)
    assert policy.most_in_flight == 12


def test_anchors_search_in_lockstep():
    # Bisection of four steps visits s_2, then s_3; the rounds of two anchors are drawn together, 2 * 4 requests each.
    class Rounds(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            if self.in_flight == 0:
                self.rounds.append(0)
            self.rounds[-1] += 1
            return await super().sample(prefix, max_tokens, seed, lane)

    policy = Rounds({2: [0], 4: [0], 6: [1]})
    policy.rounds = []
    run(policy, [root(), root(first=50)], anchors=0, search="bisection", n_mc=4, learn_from="reuse")
    assert policy.rounds == [8, 8]


def test_requests_have_seeds_of_their_own_and_repeat():
    def seeds():
        policy = FakePolicy({2: [0], 4: [1], 6: [1]})
        run(policy, [root(), root(reward=0.0)], seed="1/17")
        return [seed for _, _, seed in policy.requests]

    first = seeds()
    assert len(set(first)) == len(first)
    assert seeds() == first


def facts(result):
    """Everything of a result but its clocks and its NaNs."""
    return [
        (
            reentry.anchor,
            reentry.ends,
            [(value.count, value.mean if value.known else None) for value in reentry.values],
            reentry.critical and (reentry.critical.index, str(reentry.critical)),
            [(g.state, g.prefix, g.critical, [r.reward for r in g.rollouts]) for g in reentry.groups],
        )
        for reentry in result.reentries
    ]


@every_way
def test_the_same_seed_gives_the_same_choice_in_whatever_order_requests_complete(search, learn_from):
    roots = [
        root(tokens=12, reward=1.0),
        root(reward=0.0, first=50),
        Trajectory((*range(4), *range(30, 36)), None, 0.0),
    ]

    def once(order):
        waits = random.Random(order)
        policy = CoinPolicy(lambda n: 0.3 if n < 6 else 0.8, patience=lambda: waits.randrange(7), failure_rate=0.1)
        result = run(policy, roots, anchors=0, search=search, learn_from=learn_from, max_in_flight=5)
        return facts(result), sorted(policy.requests)

    assert once(0) == once(1) == once(2)


def test_another_seed_gives_another_choice_now_and_then():
    def chosen(name, seed):
        engine = ReentryProcedure(GPOConfig(search="random", seed=seed), pairs_of_tokens, LENGTH)
        policy = CoinPolicy(lambda n: 0.5)
        return asyncio.run(engine.run([root(tokens=12)], policy, policy, name)).reentries[0].critical.index

    assert len({chosen(str(n), 0) for n in range(20)}) > 2 < len({chosen("s", n) for n in range(20)})


# Rewards on other scales.


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 10.0), (-5.0, 20.0)])
def test_rewards_on_another_scale_give_the_same_choice(search, low, high):
    for seed in range(6):
        chosen = []
        for least, most in ((0.0, 1.0), (low, high)):
            policy = CoinPolicy(lambda n: (0.3, 0.3, 0.4, 0.9, 0.6, 0.7)[n // 2], low=least, high=most)
            roots = [root(tokens=12, reward=most), *(root(reward=least, first=50 * n) for n in (1, 2))]
            (reentry,) = run(policy, roots, search=search, seed=str(seed), reward_low=least, reward_high=most).reentries
            critical = reentry.critical
            advantage = None if critical is None else critical.advantage / (most - least)
            chosen.append((critical and critical.index, advantage, sorted(policy.requests)))
        assert chosen[0][0] == chosen[1][0] and chosen[0][2] == chosen[1][2]
        assert chosen[0][1] == pytest.approx(chosen[1][1], abs=1e-9, nan_ok=True)


# Whatever happens.


@settings(max_examples=150)
@example(1, "highest", "fresh", "argmax", {"reset": "after"}, 0.0, 0)  # nothing but the end is after its only step
@given(
    st.integers(0, LENGTH),
    st.sampled_from(list(SEARCHES)),
    st.sampled_from(list(LEARN_FROM)),
    st.sampled_from(["argmax", "abs", "argmin"]),
    st.fixed_dictionaries(
        {},
        optional={
            "reset": st.just("after"),
            "anchors": st.integers(0, 3),
            "n_mc": st.integers(1, 5),
            "n_reentry": st.integers(1, 5),
            "max_continuation_tokens": st.integers(1, 3),
            "search_budget": st.integers(1, 20),
            "prompt_token_budget": st.integers(1, 40),
            "min_advantage": st.floats(0, 0.5),
            "min_confidence": st.floats(0, 0.5),
            "value_model": st.just("curve"),
        },
    ),
    st.floats(0, 0.7),
    st.integers(0, 10_000),
)
def test_whatever_fails_the_books_balance(tokens, search, learn_from, rule, others, failure_rate, seed):
    policy = CoinPolicy(lambda n: 0.2 + n / 20, failure_rate=failure_rate)
    shared = Trajectory((*range(min(tokens, 4)), 30, 31, 32), None, 0.0)  # agrees with the first up to four tokens
    roots = [root(tokens=tokens), shared, root(reward=0.0, first=50)]
    options = {"search": search, "learn_from": learn_from, "rule": rule, "n_mc": 3, "n_reentry": 3, **others}
    result = run(policy, roots, seed=str(seed), **options)

    assert sum(usage.requests for usage in result.usage.values()) == len(policy.requests)
    came_back = balance(result)
    learnt = [id(rollout) for reentry in result.reentries for rollout in reentry.rollouts]
    assert len(learnt) == len(set(learnt)) <= came_back
    if learn_from == "fresh" and len(result.reentries) == 1:
        usage = result.usage["reentry"]
        assert len(learnt) == usage.requests - usage.sampling_failures - usage.scoring_failures
    if search in ("informative", "given", "random", "none"):
        assert result.usage["value"].requests == 0
    if search == "adaptive" and "search_budget" in others:
        assert result.usage["value"].requests <= others["search_budget"] * len(result.reentries)
    if search == "uniform":
        assert result.usage["value"].requests <= options["n_mc"] * 5 * len(result.reentries)
    for reentry in result.reentries:
        response = roots[reentry.anchor].token_ids
        for group in reentry.groups:
            assert group.rollouts and group.prefix == response[: (0, *reentry.ends)[group.state]]
            assert len(group.prefix) < LENGTH and group.state < len(reentry.ends)
        marked = [group.state for group in reentry.groups if group.critical]
        if reentry.critical is None:
            assert not marked and (learn_from == "all" or not reentry.groups)
        else:
            assert marked in ([], [reentry.critical.index + (others.get("reset") == "after")])


def test_many_prompts_share_one_engine():
    async def go():
        engine = ReentryProcedure(GPOConfig(search="adaptive"), pairs_of_tokens, LENGTH)
        policies = [CoinPolicy(lambda n: 0.5) for _ in range(5)]
        roots = [root(tokens=12), root(reward=0.0, first=50)]
        together = await asyncio.gather(*(engine.run(roots, p, p, f"p{n}") for n, p in enumerate(policies)))
        alone = [await engine.run(roots, p, p, f"p{n}") for n, p in enumerate(policies)]
        return [facts(result) for result in together], [facts(result) for result in alone]

    together, alone = asyncio.run(go())
    assert together == alone
