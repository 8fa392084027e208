"""What the tests of core share: responses, policies whose state values are known, and views made by hand."""

import asyncio
import random
from collections import Counter

import pytest

from verl_gpo.config import GPOConfig
from verl_gpo.core.learn import LEARN_FROM
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.search.view import AnchorView
from verl_gpo.core.types import Continuation, SamplingError, ScoredContinuation, ScoringError, Trajectory
from verl_gpo.core.values import UNKNOWN, StateValue

LENGTH = 12


def pairs_of_tokens(token_ids, log_probs=None):
    """A splitter: steps of two tokens."""
    return [*range(2, len(token_ids), 2), len(token_ids)] if token_ids else []


def root(tokens=8, reward=1.0, first=0):
    return Trajectory(tuple(range(first, first + tokens)), (-1.0,) * tokens, reward)


class FakePolicy:
    """Sampler and scorer in one. The reward of a continuation is ``rewards[len(prefix)]``, taken in turn."""

    def __init__(self, rewards, fail_sampling=(), fail_scoring=()):
        self.rewards = {length: list(values) for length, values in rewards.items()}
        self.fail_sampling, self.fail_scoring = set(fail_sampling), set(fail_scoring)
        self.requests = []
        self.in_flight = self.most_in_flight = 0

    async def sample(self, prefix, max_tokens, seed, lane=0):
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

    def asked(self):
        """Requests by length of their prefix."""
        return Counter(len(prefix) for prefix, _, _ in self.requests)


class CoinPolicy(FakePolicy):
    """Succeeds after ``n`` tokens with probability ``values(n)``, and fails with a reward of ``low``.

    Its answer depends on the prefix and the seed alone, never on the order of the requests: ``patience`` says how often
    each of them waits before it is answered.
    """

    def __init__(self, values, low=0.0, high=1.0, patience=lambda: 0, failure_rate=0.0):
        super().__init__({})
        self.values, self.low, self.high = values, low, high
        self.patience, self.failure_rate = patience, failure_rate

    async def sample(self, prefix, max_tokens, seed, lane=0):
        assert max_tokens >= 1 and len(prefix) < LENGTH
        self.requests.append((prefix, max_tokens, seed))
        for _ in range(self.patience()):
            await asyncio.sleep(0)
        coin = random.Random(f"{prefix}/{seed}")
        if coin.random() < self.failure_rate:
            raise SamplingError("lost")
        return Continuation((7,) * min(max_tokens, 2), source=coin)

    async def score(self, prefix, continuation):
        for _ in range(self.patience()):
            await asyncio.sleep(0)
        coin = continuation.source
        if coin.random() < self.failure_rate:
            raise ScoringError("broken reward")
        success = coin.random() < self.values(len(prefix))
        return ScoredContinuation(continuation, self.high if success else self.low)


def run(policy, roots, seed="s", splitter=pairs_of_tokens, step_account=None, given=(), **settings):
    """One prompt through the engine."""
    engine = ReentryProcedure(GPOConfig(**settings), splitter, LENGTH)
    return asyncio.run(engine.run(roots, policy, policy, seed, step_account, given=given))


def view_of(means, log_probs=None, count=8, step_tokens=10, longest=None, seed=0, **settings):
    """An anchor by the means of ``V(s_0) .. V(s_K)``, the last its outcome; None where nothing was drawn yet."""
    steps = len(means) - 1
    tokens = steps * step_tokens
    values = [UNKNOWN if mean is None else StateValue(mean, count) for mean in means[:-1]] + [StateValue(means[-1])]
    return AnchorView(
        GPOConfig(**settings),
        Trajectory(tuple(range(tokens)), log_probs, means[-1]),
        tuple(range(step_tokens, tokens + 1, step_tokens)),
        tokens - 1 if longest is None else longest,
        float(tokens),
        random.Random(seed),
        values,
    )


def play(search, view, curve, lost=()):
    """Let a search search to its end; each state answers with its true value, those in ``lost`` not at all.

    Returns:
        The states of each round.
    """
    rounds = []
    while states := list(search.next_states(view)):
        rounds.append(states)
        assert len(rounds) < 1000
        values = list(view.values_K1)
        for state in states:
            view.requested_K[state] += 1
            if state > 0 and state not in lost:  # what is known of s_0 is the root group
                values[state] = StateValue(curve[state], view.requested_K[state])
        view.update(values, view.in_first)
    return rounds


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
