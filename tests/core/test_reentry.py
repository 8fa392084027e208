"""The engine against a fake policy whose state values are known exactly."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.config import GPOConfig
from verl_gpo.core.reentry import ReentryEngine
from verl_gpo.core.types import Continuation, SamplingError, ScoredContinuation, ScoringError, Trajectory

LENGTH = 12


def pairs_of_tokens(token_ids):
    """A splitter: steps of two tokens."""
    return [*range(2, len(token_ids), 2), len(token_ids)] if token_ids else []


class FakePolicy:
    """Sampler and scorer in one. The reward of a continuation is ``rewards[len(prefix)]``, taken in turn."""

    def __init__(self, rewards, fail_sampling=(), fail_scoring=()):
        self.rewards = {length: list(values) for length, values in rewards.items()}
        self.fail_sampling, self.fail_scoring = set(fail_sampling), set(fail_scoring)
        self.requests = []
        self.in_flight = self.most_in_flight = 0

    async def sample(self, prefix, max_tokens, seed):
        self.requests.append((prefix, max_tokens, seed))
        number = len(self.requests)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if number in self.fail_sampling:
            raise SamplingError("lost")
        return Continuation((7, 8), (-0.5, -0.5), len(prefix), cached_tokens=len(prefix) // 2, source=number)

    async def score(self, prefix, continuation):
        await asyncio.sleep(0)
        if continuation.source in self.fail_scoring:
            raise ScoringError("broken reward")
        values = self.rewards[len(prefix)]
        return ScoredContinuation(continuation, values.pop(0) if len(values) > 1 else values[0])


def run(policy, roots, seed="s", splitter=pairs_of_tokens, **settings):
    engine = ReentryEngine(GPOConfig.from_mapping(settings), splitter, LENGTH)
    return asyncio.run(engine.run(roots, policy, policy, seed))


def root(tokens=8, reward=1.0, first=0):
    return Trajectory(tuple(range(first, first + tokens)), (-1.0,) * tokens, reward)


def test_values_choice_and_reset_by_hand():
    # One root of four steps and reward 1 in a group with mean .5. V = .5 .5 .75 .25 | 1 -> A = 0 .25 -.5 .75: m = 3.
    policy = FakePolicy({2: [1, 0, 1, 0], 4: [1, 1, 1, 0], 6: [1, 0, 0, 0, 1, 1, 0, 1]})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, n_reentry=3)
    (reentry,) = result.reentries
    assert [value.mean for value in reentry.values] == [0.5, 0.5, 0.75, 0.25, 1.0]
    assert [value.count for value in reentry.values] == [2, 4, 4, 4, 0]
    assert (reentry.critical.index, reentry.critical.advantage) == (3, 0.75)
    assert (reentry.reset_index, reentry.prefix) == (3, tuple(range(6)))
    assert [rollout.reward for rollout in reentry.rollouts] == [1, 1, 0]  # fresh ones, not the Monte Carlo samples


def test_cost_is_counted_by_phase_and_free_states_are_not_sampled():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, n_reentry=3)
    value, reenter = result.usage["value"], result.usage["reenter"]
    assert (value.requests, value.tokens) == (12, 24)  # states 1 to 3 of 0 to 4, two tokens each
    assert (reenter.requests, reenter.tokens) == (3, 6)
    assert (value.context_tokens, value.cached_tokens) == (4 * (2 + 4 + 6), 4 * (1 + 2 + 3))
    assert {len(prefix) for prefix, _, _ in policy.requests} == {2, 4, 6}  # A = -.5 1 0 0: reset to s_1, of 2 tokens


def test_max_tokens_leaves_room_for_the_prefix():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    run(policy, [root(), root(reward=0.0)])
    assert all(max_tokens == LENGTH - len(prefix) for prefix, max_tokens, _ in policy.requests)


@pytest.mark.parametrize(("rule", "index"), [("argmax", 1), ("abs", 2), ("argmin", 2)])
def test_rules_reach_the_engine(rule, index):
    policy = FakePolicy({2: [0.5], 4: [1.0], 6: [0.0]})  # V = .5 .5 1 0 | .5 -> A = 0 .5 -1 .5
    (reentry,) = run(policy, [root(reward=0.5)], rule=rule).reentries
    assert reentry.critical.index == index


def test_reset_after_keeps_the_critical_step():
    policy = FakePolicy({2: [0.5], 4: [1.0], 6: [0.0]})
    (reentry,) = run(policy, [root(reward=0.5)], reset="after").reentries
    assert (reentry.critical.index, reentry.reset_index, reentry.prefix) == (1, 2, (0, 1, 2, 3))


def test_reset_after_never_resets_to_the_end_of_the_response():
    policy = FakePolicy({2: [0.0], 4: [0.0], 6: [0.0]})  # the last step gains most, but nothing comes after it
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0)], reset="after").reentries
    assert reentry.critical is None


def test_random_rule_values_nothing():
    policy = FakePolicy({n: [1] for n in range(LENGTH)})
    result = run(policy, [root()], rule="random", n_reentry=2)
    assert result.usage["value"].requests == 0
    assert len(result.reentries[0].rollouts) == 2


def test_no_critical_step_costs_no_reentry():
    policy = FakePolicy({2: [0], 4: [0], 6: [0]})
    result = run(policy, [root(reward=0.0)])
    assert result.reentries[0].critical is None
    assert result.usage["reenter"].requests == 0


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
    (reentry,) = run(policy, [root(reward=1.0)], n_mc=4).reentries
    assert not reentry.values[2].known
    assert reentry.critical.index == 3  # A_1 and A_2 are unknown, A_0 = -1, A_3 = .1


def test_a_reward_that_raises_is_counted_and_survived():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]}, fail_scoring={12})
    result = run(policy, [root(), root(reward=0.0)], n_mc=4)
    assert result.usage["value"].scoring_failures == 1
    assert [value.count for value in result.reentries[0].values] == [2, 4, 4, 3, 0]


def test_everything_failing_gives_no_rollouts_and_no_exception():
    policy = FakePolicy({}, fail_sampling=range(1, 100))
    result = run(policy, [root()])
    assert result.reentries[0].critical is None and not result.reentries[0].rollouts


def test_empty_response_has_no_steps():
    (reentry,) = run(FakePolicy({}), [root(tokens=0, reward=0.0)]).reentries
    assert reentry.ends == () and reentry.critical is None


def test_one_step_needs_no_sampling_to_be_valued():
    policy = FakePolicy({0: [1]})
    result = run(policy, [root(tokens=2, reward=1.0), root(reward=0.0)], n_reentry=2)
    assert result.usage["value"].requests == 0
    assert result.reentries[0].critical.index == 0 and result.reentries[0].prefix == ()


def test_a_prefix_over_the_budget_is_neither_valued_nor_reset_to():
    policy = FakePolicy({2: [0.0], 4: [0.1], 6: [0.0]})
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0)], max_prefix_tokens=4).reentries
    assert {len(prefix) for prefix, _, _ in policy.requests} <= {2, 4}
    assert not reentry.values[3].known
    assert len(reentry.prefix) <= 4


def test_a_response_that_fills_the_budget_leaves_room_for_one_token_at_least():
    policy = FakePolicy({n: [0] for n in range(LENGTH)})
    run(policy, [root(tokens=LENGTH, reward=1.0)], rule="random", seed="any")
    assert all(max_tokens >= 1 for _, max_tokens, _ in policy.requests)


def test_identical_prefixes_are_valued_once():
    # Two anchors that agree on their first two steps: states 1 and 2 are shared, state 3 is not.
    shared = [root(), Trajectory((0, 1, 2, 3, 20, 21, 22, 23), None, 0.0)]
    policy = FakePolicy({2: [0.5], 4: [0.5], 6: [0.5]})
    result = run(policy, shared, anchors=2, n_mc=3)
    assert result.usage["value"].requests == 3 * (2 + 2)
    assert result.reentries[0].values[1] is result.reentries[1].values[1]


def test_anchors_beyond_the_group_are_ignored():
    policy = FakePolicy({2: [0.5], 4: [0.5], 6: [0.5]})
    assert len(run(policy, [root()], anchors=8).reentries) == 1


def test_all_requests_of_a_phase_are_in_flight_together():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    run(policy, [root(), root(reward=0.0)], n_mc=4)
    assert policy.most_in_flight == 12


def test_requests_have_seeds_of_their_own_and_repeat():
    def seeds():
        policy = FakePolicy({2: [0], 4: [1], 6: [1]})
        run(policy, [root(), root(reward=0.0)], seed="1/17")
        return [seed for _, _, seed in policy.requests]

    first = seeds()
    assert len(set(first)) == len(first)
    assert seeds() == first


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, LENGTH),
    st.sampled_from(["argmax", "abs", "argmin", "random"]),
    st.sampled_from(["before", "after"]),
    st.floats(0, 0.7),
    st.integers(0, 10_000),
)
def test_whatever_fails_the_books_balance(tokens, rule, reset, failure_rate, seed):
    rng = random.Random(seed)

    class Flaky(FakePolicy):
        async def sample(self, prefix, max_tokens, seed):
            assert 1 <= max_tokens == LENGTH - len(prefix)
            if rng.random() < failure_rate:
                raise SamplingError("lost")
            return Continuation((1,))

        async def score(self, prefix, continuation):
            if rng.random() < failure_rate:
                raise ScoringError("lost")
            return ScoredContinuation(continuation, rng.random())

    result = run(Flaky({}), [root(tokens=tokens), root()], rule=rule, reset=reset, n_reentry=3, seed=str(seed))
    (reentry,) = result.reentries
    drawn = sum(value.count for value in reentry.values[1:-1]) if tokens else 0
    usage = result.usage["value"]
    assert usage.requests == drawn + usage.sampling_failures + usage.scoring_failures
    usage = result.usage["reenter"]
    assert usage.requests == len(reentry.rollouts) + usage.sampling_failures + usage.scoring_failures
    if reentry.critical is None:
        assert not reentry.rollouts and reentry.prefix == ()
    else:
        assert reentry.prefix == root(tokens=tokens).token_ids[: len(reentry.prefix)]
        assert len(reentry.prefix) == (0, *reentry.ends)[reentry.reset_index]
        assert len(reentry.prefix) < LENGTH
