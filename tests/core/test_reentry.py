"""The engine against fake policies whose state values are known."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.fakes import LENGTH, CoinPolicy, FakePolicy, pairs_of_tokens, root, run
from verl_gpo.config import GPOConfig
from verl_gpo.core.learn import LEARN_FROM
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.types import StalledError, Trajectory

EVERY = [pytest.mark.parametrize("search", SEARCHES), pytest.mark.parametrize("learn_from", LEARN_FROM)]


def every_way(test):
    """With every search, and everything that may be learnt from."""
    for mark in EVERY:
        test = mark(test)
    return test


def balance(result):
    """The books: every request came back as something, or failed as something."""
    for usage in result.usage.values():
        assert usage.requests >= usage.sampling_failures + usage.scoring_failures
    return sum(u.requests - u.sampling_failures - u.scoring_failures for u in result.usage.values())


# The paper's search, by hand.


def test_values_choice_and_reset_by_hand():
    # One root of four steps and reward 1 in a group with mean .5. V = .5 .5 .75 .25 | 1 -> A = 0 .25 -.5 .75: m = 3.
    policy = FakePolicy({2: [1, 0, 1, 0], 4: [1, 1, 1, 0], 6: [1, 0, 0, 0, 1, 1, 0, 1]})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, n_reentry=3)
    (reentry,) = result.reentries
    assert [value.mean for value in reentry.values] == [0.5, 0.5, 0.75, 0.25, 1.0]
    assert [value.count for value in reentry.values] == [2, 4, 4, 4, 0]
    assert (reentry.critical.index, reentry.critical.advantage) == (3, 0.75)
    assert 0.0 < reentry.critical.confidence < 1.0
    (group,) = reentry.groups
    assert (group.state, group.prefix, group.critical) == (3, tuple(range(6)), True)
    assert [rollout.reward for rollout in reentry.rollouts] == [1, 1, 0]  # fresh ones, not the Monte Carlo samples


def test_cost_is_counted_by_phase_and_free_states_are_not_sampled():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, n_reentry=3)
    value, reentry = result.usage["value"], result.usage["reentry"]
    assert (value.requests, value.tokens) == (12, 24)  # states 1 to 3 of 0 to 4, two tokens each
    assert (reentry.requests, reentry.tokens) == (3, 6)
    assert (value.context_tokens, value.cached_tokens) == (4 * (2 + 4 + 6), 4 * (1 + 2 + 3))
    assert {len(prefix) for prefix, _, _ in policy.requests} == {2, 4, 6}  # A = -.5 1 0 0: reset to s_1, of 2 tokens


def test_max_tokens_leaves_room_for_the_prefix():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    run(policy, [root(), root(reward=0.0)])
    assert all(max_tokens == LENGTH - len(prefix) for prefix, max_tokens, _ in policy.requests)


def test_a_bound_on_continuations_bounds_the_search_and_not_the_rollouts():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    result = run(policy, [root(), root(reward=0.0)], n_mc=2, n_reentry=3, max_continuation_tokens=5)
    searched, reentered = policy.requests[:6], policy.requests[6:]
    assert [most for _, most, _ in searched] == [5] * 6 and result.usage["value"].requests == 6
    assert [most for _, most, _ in reentered] == [LENGTH - 2] * 3


@pytest.mark.parametrize("learn_from", ["reuse", "all"])
def test_continuations_that_came_to_the_bound_are_replaced_by_whole_ones(learn_from):
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})  # two tokens each
    settings = {"n_mc": 2, "n_reentry": 3, "learn_from": learn_from, "partial_rewards": True}
    cut = run(policy, [root(), root(reward=0.0)], max_continuation_tokens=2, **settings)
    # Values come from what was cut, all the same; three whole rollouts are drawn at s_1.
    (reentry,) = cut.reentries
    assert reentry.critical.index == 1 and cut.usage["value"].requests == 6 and cut.usage["reentry"].requests == 3
    (group,) = reentry.groups
    assert group.state == 1 and len(group.rollouts) == 3 and not any(rollout.cut for rollout in group.rollouts)
    whole = run(policy, [root(), root(reward=0.0)], max_continuation_tokens=3, **settings)
    assert whole.usage["reentry"].requests == 0


def test_a_cut_continuation_gives_no_value_unless_partial_text_is_scored():
    # A constant value of 1/2, and rewards of 0 for what was cut: behind the third step the rest fits under the bound,
    # and the value would seem to jump there.
    policy = FakePolicy({2: [0], 4: [0], 6: [0.5]})
    roots = [root(reward=0.5), root(reward=0.5, first=50)]
    (reentry,) = run(policy, roots, n_mc=2, max_continuation_tokens=2).reentries
    assert [value.known for value in reentry.values] == [True, False, False, False, True]
    assert reentry.critical is None


def test_a_state_with_a_censored_continuation_has_no_value():
    # V = 1/2 everywhere; long answers are the right ones, and those of s_2 are given up.
    class Stalls(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            found = await super().sample(prefix, max_tokens, seed, lane)
            if len(prefix) == 4 and found.source % 2:
                raise StalledError("given up")
            return found

    policy = Stalls({2: [0, 1, 0, 1], 4: [0], 6: [0, 1, 0, 1]})
    (reentry,) = run(policy, [root(reward=0.5), root(reward=0.5, first=50)], n_mc=4).reentries
    assert [value.mean if value.known else None for value in reentry.values] == [0.5, 0.5, None, 0.5, 0.5]
    assert reentry.critical is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_root_without_a_finite_reward_is_no_anchor_and_no_value(bad):
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    roots = [root(reward=bad), root(reward=1.0, first=50), root(reward=0.0, first=100)]
    (reentry,) = run(policy, roots, n_mc=2).reentries
    assert reentry.anchor == 1 and reentry.values[0].mean == 0.5 and reentry.values[0].count == 2


@pytest.mark.parametrize(("rule", "index"), [("argmax", 1), ("abs", 2), ("argmin", 2)])
def test_rules_reach_the_engine(rule, index):
    policy = FakePolicy({2: [0.5], 4: [1.0], 6: [0.0]})  # V = .5 .5 1 0 | .5 -> A = 0 .5 -1 .5
    (reentry,) = run(policy, [root(reward=0.5), root(reward=0.5, first=50)], rule=rule).reentries
    assert reentry.critical.index == index


def test_reset_after_keeps_the_critical_step():
    policy = FakePolicy({2: [0.5], 4: [1.0], 6: [0.0]})
    (reentry,) = run(policy, [root(reward=0.5), root(reward=0.5, first=50)], reset="after").reentries
    assert reentry.critical.index == 1
    assert [(group.state, group.prefix) for group in reentry.groups] == [(2, (0, 1, 2, 3))]


def test_reset_after_never_resets_to_the_end_of_the_response():
    policy = FakePolicy({2: [0.0], 4: [0.0], 6: [0.0]})  # the last step gains most, but nothing comes after it
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0)], reset="after").reentries
    assert reentry.critical is None


def test_no_critical_step_costs_no_reentry():
    policy = FakePolicy({2: [0], 4: [0], 6: [0]})
    result = run(policy, [root(reward=0.0), root(reward=0.0, first=50)])
    assert result.reentries[0].critical is None
    assert result.usage["reentry"].requests == 0


def test_an_unsure_choice_costs_no_reentry():
    rewards = {2: [1, 0], 4: [0, 1], 6: [1, 0]}
    roots = [root(reward=1.0), root(reward=0.0)]
    assert run(FakePolicy(rewards), roots, n_mc=2).usage["reentry"].requests == 4
    assert run(FakePolicy(rewards), roots, n_mc=2, min_confidence=0.99).usage["reentry"].requests == 0


# The ablations.


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
def test_the_random_rule_costs_the_search_and_ignores_it(search):
    # Step 3 alone gains; a random step is not always that one.
    chosen = set()
    for seed in range(20):
        policy = FakePolicy({0: [0], 2: [0], 4: [0], 6: [0]})
        result = run(policy, [root(), root(reward=0.0)], rule="random", search=search, n_mc=2, seed=str(seed))
        assert result.usage["value"].requests > 0 and result.usage["reentry"].requests == 4
        chosen.add(result.reentries[0].critical.index)
    assert len(chosen) > 1


def test_the_random_search_values_nothing():
    policy = FakePolicy({n: [1] for n in range(LENGTH)})
    result = run(policy, [root()], search="random", n_reentry=2)
    assert result.usage["value"].requests == 0
    assert len(result.reentries[0].rollouts) == 2


def test_no_search_asks_for_nothing():
    policy = FakePolicy({})
    result = run(policy, [root(), root(reward=0.0)], search="none")
    assert result.reentries[0].critical is None and result.reentries[0].groups == () and not policy.requests


@every_way
@pytest.mark.parametrize("settings", [{}, {"value_model": "curve"}, {"rule": "random"}], ids=str)
def test_a_choice_inside_the_response_is_reentered_whatever_is_learnt_from(search, learn_from, settings):
    values = (0.3, 0.2, 0.7, 0.1, 0.6, 0.4)
    roots = [root(tokens=12), root(reward=0.0, first=50)]
    for seed in range(6):
        policy = CoinPolicy(lambda n: values[n // 2])
        result = run(policy, roots, search=search, learn_from=learn_from, n_mc=4, seed=str(seed), **settings)
        (reentry,) = result.reentries
        if reentry.critical and reentry.critical.index > 0:
            assert [group.state for group in reentry.groups if group.critical] == [reentry.critical.index]


# Failures.


def test_failed_requests_cost_their_estimate_only():
    # The second request, one of state 1's four, is lost. V = .5 1 1 0 | 1 -> A = .5 0 -1 1.
    policy = FakePolicy({2: [1], 4: [1], 6: [0]}, fail_sampling={2})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4)
    (reentry,) = result.reentries
    assert reentry.values[1].count == 3 and reentry.values[2].count == 4
    assert result.usage["value"].sampling_failures == 1
    assert reentry.critical.index == 3


def test_a_state_without_a_single_estimate_is_unknown_and_its_steps_are_not_chosen():
    policy = FakePolicy({2: [0], 4: [0], 6: [0.9]}, fail_sampling={5, 6, 7, 8})  # all of state 2
    (reentry,) = run(policy, [root(reward=1.0), root(reward=1.0, first=50)], n_mc=4).reentries
    assert not reentry.values[2].known
    assert reentry.critical.index == 3  # A_1 and A_2 are unknown, A_0 = -1, A_3 = .1


def test_a_reward_that_raises_is_counted_and_survived():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]}, fail_scoring={12})
    result = run(policy, [root(), root(reward=0.0)], n_mc=4)
    assert result.usage["value"].scoring_failures == 1
    assert [value.count for value in result.reentries[0].values] == [2, 4, 4, 3, 0]


@every_way
@pytest.mark.parametrize("failing", ["fail_sampling", "fail_scoring"])
def test_everything_failing_gives_no_rollouts_and_no_exception(search, learn_from, failing):
    policy = FakePolicy({}, **{failing: range(1, 1000)})
    result = run(policy, [root(), root(reward=0.0)], search=search, learn_from=learn_from)
    assert not result.reentries[0].rollouts and balance(result) == 0
    assert sum(usage.requests for usage in result.usage.values()) == len(policy.requests)


# Degenerate groups and responses.


@every_way
def test_an_empty_response_has_no_steps(search, learn_from):
    result = run(FakePolicy({}), [root(tokens=0, reward=0.0), root()], search=search, learn_from=learn_from)
    (reentry,) = result.reentries
    assert reentry.ends == () and reentry.critical is None and reentry.groups == ()


@every_way
def test_one_step_needs_no_sampling_to_be_valued(search, learn_from):
    policy = FakePolicy({0: [1]})
    roots = [root(tokens=2, reward=1.0), root(reward=0.0)]
    result = run(policy, roots, search=search, learn_from=learn_from, n_reentry=2, stop_confidence=1.0)
    (reentry,) = result.reentries
    assert result.usage["value"].requests == 0
    if search not in ("informative", "given", "none"):  # more roots teach as much; no data set named a step
        assert reentry.critical.index == 0
        assert [group.prefix for group in reentry.groups] == ([()] if learn_from == "fresh" else [])


@pytest.mark.parametrize("search", ["uniform", "bisection"])
def test_a_group_of_one_is_not_taken_for_the_value_of_its_prompt(search):
    # V = .5 .5 1 0 | 0. The root's own outcome in place of V(s_0) would make the first step gain .5.
    policy = FakePolicy({0: [0, 1], 2: [0, 1], 4: [1], 6: [0]})
    result = run(policy, [root(reward=0.0)], search=search, n_mc=2)
    (reentry,) = result.reentries
    assert reentry.values[0].mean == 0.5 and reentry.values[0].count == 2
    if search == "uniform":
        assert reentry.critical.index == 1 and result.usage["value"].requests == 4 * 2
    # Another root tells of s_0 for nothing.
    others = FakePolicy({0: [0, 1], 2: [0, 1], 4: [1], 6: [0]})
    result = run(others, [root(reward=0.0), root(reward=1.0, first=50)], search=search, n_mc=2)
    assert result.reentries[0].values[0].count == 2
    assert () not in [prefix for prefix, _, _ in others.requests[: result.usage["value"].requests]]


@every_way
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_group_of_one(search, learn_from, reward):
    policy = CoinPolicy(lambda n: 0.5)
    result = run(policy, [root(tokens=10, reward=reward)], search=search, learn_from=learn_from)
    assert len(result.reentries) == 1 and balance(result) == len(policy.requests)


@every_way
def test_a_response_that_fills_the_budget_leaves_room_for_one_token_at_least(search, learn_from):
    policy = CoinPolicy(lambda n: 0.5)  # it refuses a request without room
    full = [root(tokens=LENGTH, reward=1.0), root(tokens=LENGTH, reward=0.0, first=50)]
    for splitter in (pairs_of_tokens, lambda ids, log_probs=None: list(range(1, len(ids) + 1))):
        for seed in "ab":
            run(policy, full, splitter=splitter, search=search, learn_from=learn_from, seed=seed)
    assert len(policy.requests) > 0 or search in ("informative", "given", "random", "none")


def test_anchors_beyond_the_group_are_ignored():
    policy = FakePolicy({2: [0.5], 4: [0.5], 6: [0.5]})
    assert len(run(policy, [root(), root()], anchors=8).reentries) == 1


def test_a_response_without_log_probs_can_be_searched():
    for search in SEARCHES:
        plain = Trajectory(tuple(range(8)), None, 1.0)
        assert len(run(CoinPolicy(lambda n: 0.5), [plain, root(reward=0.0)], search=search).reentries) == 1


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


@settings(deadline=None, max_examples=150)
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
