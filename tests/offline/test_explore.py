"""What one prompt's record holds, with the engine's own fake policy."""

import asyncio
import math

import pytest

from tests.core.fakes import LENGTH, FakePolicy, pairs_of_tokens
from verl_gpo.config import GPOConfig
from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation, SamplingError, ScoredContinuation, ScoringError, StalledError
from verl_gpo.inference.engine import VLLMSampler
from verl_gpo.inference.task import FunctionScorer, Prompt
from verl_gpo.offline.explore import Explorer
from verl_gpo.offline.pairs import Selection, Tally, select
from verl_gpo.offline.records import Rollout, Task


class Policy(FakePolicy):
    """Roots are of eight tokens, so four steps; everything else of two."""

    async def sample(self, prefix, max_tokens, seed, lane=0):
        drawn = await super().sample(prefix, max_tokens, seed)
        if prefix:
            return drawn
        number = drawn.source
        return Continuation(tuple(range(100 * number, 100 * number + 8)), None, 0, None, number)


def explore(policy, method="gpo", roots=2, **settings):
    explorer = Explorer(method, GPOConfig.from_mapping(settings), pairs_of_tokens, LENGTH, roots, "s")
    return asyncio.run(explorer.explore(Task(0, 4), "p", [1, 2, 3], policy, policy))


# V: 0.5 at s_0, 0.5 at s_1, 1 at s_2 and s_3; the outcome 1. The second step gains most, so the reset is to s_1.
JUMP = {0: [1, 0, 1, 0], 2: [1, 0] * 9, 4: [1], 6: [1]}


def test_the_reset_state_and_its_rollouts_are_kept():
    record = explore(Policy(JUMP), n_mc=2, n_reentry=2)
    assert (record.index, record.prompt_ids, record.problem) == (4, (1, 2, 3), "p")
    (state,) = record.states
    assert (state.step, state.steps, state.prefix, state.critical) == (1, 4, (100, 101), True)
    assert state.advantage == 0.5 and 0 < state.confidence <= 1
    assert [rollout.reward for rollout in state.rollouts] == [1, 0]
    assert record.tokens == {"root": 16, "value": 3 * 2 * 2, "reentry": 4}
    assert record.cost == 32 and record.failures == 0


def test_plain_draws_nothing_but_roots():
    record = explore(Policy(JUMP), "plain")
    assert record.states == () and record.tokens == {"root": 16, "value": 0, "reentry": 0}
    assert [rollout.reward for rollout in record.roots] == [1, 0]


@pytest.mark.parametrize("preset", ["paper", "fast", "lean"])
def test_a_random_step_needs_no_search(preset):
    record = explore(
        Policy({**JUMP, 4: [1, 0] * 4, 6: [1, 0] * 4}), "random", preset=preset, search="random", n_reentry=2
    )
    assert record.tokens["value"] == 0 and len(record.states) == 1
    state = record.states[0]
    assert state.advantage is None and state.confidence is None
    assert len(state.rollouts) == 2


@pytest.mark.parametrize(("learn_from", "roots_used"), [("reuse", True), ("all", True), ("split", False)])
def test_a_reset_to_the_prompt_reuses_the_roots(learn_from, roots_used):
    # The first step gains most: V(s_0) is 0.5, all states behind it are worth 1.
    record = explore(Policy({0: [1, 0], 2: [1], 4: [1], 6: [1]}), learn_from=learn_from, n_mc=2)
    at_start = [state for state in record.states if state.step == 0]
    assert [state.rollouts for state in at_start] == ([record.roots] if roots_used else [])
    assert all(state.prefix == () and state.critical for state in at_start)


def test_what_was_lost_is_counted_and_the_rest_kept():
    record = explore(Policy(JUMP, fail_sampling=[1], fail_scoring=[3]), "plain", roots=4)
    assert record.failures == 2 and len(record.roots) == 2


def test_a_prompt_without_a_root_is_an_error():
    with pytest.raises(SamplingError, match="2 failed, 0 got no reward"):
        explore(Policy(JUMP, fail_sampling=[1, 2]), "plain")


def test_finish_reasons_are_kept():
    class Cut(Policy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            return Continuation((1, 2), None, 0, None, "length")

        async def score(self, prefix, continuation):
            self.rewards = {0: [1.0]}
            continuation = Continuation(continuation.token_ids, None, 0, None, "length")
            from verl_gpo.core.types import ScoredContinuation

            return ScoredContinuation(continuation, 1.0)

    assert explore(Cut({}), "plain", roots=1).roots == (Rollout((1, 2), 1.0, "length"),)


def test_a_request_that_stalls_is_given_up_and_cancelled():
    class Engine:
        """Answers at once, but for its first request."""

        def __init__(self):
            self.clock, self.requests, self.cancelled = EngineClock(), 0, False

        async def generate(self, context, max_tokens, seed):
            self.requests += 1
            try:
                await asyncio.sleep(60.0 if self.requests == 1 else 0.01)
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            return Continuation((1, 2))

    async def go():
        engine = Engine()
        sampler = VLLMSampler(engine, [1], stall_timeout=0.2)
        lost = asyncio.ensure_future(sampler.sample((), 4, 0))
        while not lost.done():
            await sampler.sample((), 4, 0)
        assert engine.cancelled
        lost.result()

    with pytest.raises(StalledError, match="given up"):
        asyncio.run(go())


def test_a_reward_that_takes_too_long_is_lost():
    def slow_reward(**row):
        import time

        time.sleep(0.5)

    prompt = Prompt(0, [], "fake", "", {})

    class Tokenizer:
        def decode(self, token_ids, skip_special_tokens):
            return ""

    with pytest.raises(ScoringError, match="no reward within 0.01 s"):
        asyncio.run(FunctionScorer(slow_reward, Tokenizer(), prompt, 0.01).score((), Continuation((1,))))


@pytest.mark.parametrize(("method", "settings"), [("gpo", {}), ("random", {"search": "random"}), ("plain", {})])
def test_rewards_that_are_no_number_are_counted_and_in_no_pair(method, settings):
    class NoNumber(Policy):
        """Every third reward is NaN."""

        scored = 0

        async def score(self, prefix, continuation):
            self.scored += 1
            if self.scored % 3 == 0:
                return ScoredContinuation(continuation, float("nan"))
            return await super().score(prefix, continuation)

    policy = NoNumber(JUMP)
    record = explore(policy, method, roots=6, n_reentry=6, **settings)
    assert record.failures == policy.scored // 3 > 0
    rewards = [rollout.reward for rollout in record.roots]
    assert len(rewards) == 4 and all(map(math.isfinite, rewards))
    assert all(math.isfinite(rollout.reward) for state in record.states for rollout in state.rollouts)
    pairs = list(select([record], method == "plain", Selection(), Tally()))
    assert all(pair.chosen.reward > pair.rejected.reward for pair in pairs)
    assert pairs or method != "plain"
