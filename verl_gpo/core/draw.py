"""Draws continuations through the Protocols, in the order that the scheduler allows, and counts what they cost."""

from __future__ import annotations

import asyncio
import math
import random
from array import array
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from .budget import Account
from .scheduler import Scheduler
from .types import (
    Continuation,
    Sampler,
    SamplingError,
    ScoredContinuation,
    Scorer,
    ScoringError,
    StalledError,
    Tokens,
    as_number,
)

State = TypeVar("State", bound=Hashable)
T = TypeVar("T")

#: Requests of one round that share a sticky id. Further ones get another, which may be another replica.
_REQUESTS_A_LANE = 64


@dataclass
class Usage:
    """What one phase of one prompt cost. Tokens are those that the policy generated, without the context that it read.

    Of the requests, ``cut`` reached the maximal length of value continuations, ``censored`` were given up because they
    did not come back, ``sampling_failures`` failed, and ``scoring_failures`` got no finite reward.
    """

    requests: int = 0
    tokens: int = 0
    context_tokens: int = 0
    cached_tokens: int = 0
    cut: int = 0
    censored: int = 0
    sampling_failures: int = 0
    scoring_failures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Wanted(Generic[State]):
    """Continuations to draw from one state.

    Attributes:
        state: its name.
        prefix_length: response tokens that it keeps.
        count: the number of continuations.
        tokens: expected length of one.
    """

    state: State
    prefix_length: int
    count: int
    tokens: float


@dataclass(frozen=True)
class Drawn:
    """The continuations of one state that were drawn.

    Attributes:
        samples: those that came back with a reward, in the order they were asked for.
        censored: the number of those that were given up. They are the long ones, so the others are no fair sample.
    """

    samples: tuple[ScoredContinuation, ...] = ()
    censored: int = 0


@dataclass
class Draw:
    """Samples and scores continuations of one prompt's states.

    Args:
        sampler: continues the prompt's states.
        scorer: scores the prompt's responses.
        response_length: most tokens of a response, kept prefix included.
        seed: names the prompt; requests are seeded by it and by their number.
        scheduler: grants slots to the requests of all prompts.
        account: the tokens drawn count against it.
        alone: the reward function is shown a continuation without the tokens before it.
    """

    sampler: Sampler
    scorer: Scorer
    response_length: int
    seed: str
    scheduler: Scheduler
    account: Account = field(default_factory=Account)
    alone: bool = False

    def __post_init__(self) -> None:
        self._queue = self.scheduler.queue()
        self._drawn = 0
        #: Tokens of the longest continuation of the last call: those that had to be generated one after another.
        self.longest = 0

    async def together(
        self,
        wanted: Sequence[Wanted[State]],
        prefix: Callable[[State], Tokens],
        usage: Usage,
        max_tokens: int = 0,
        keep: bool = True,
    ) -> dict[State, Drawn]:
        """Draw continuations, all at once.

        Args:
            wanted: the states, each once.
            prefix: gives the tokens that a state keeps. It is called only when a request has its slot, because the
                prefixes of all states of a long response would take too much memory.
            usage: the cost is added to it.
            max_tokens: bound on a continuation's length besides the response length; 0 for none.
            keep: if false, only the reward of a continuation is kept and not its tokens, which is enough for a value.
        """
        requests = []
        for one in wanted:
            room = self.response_length - one.prefix_length
            for _ in range(one.count if room >= 1 else 0):
                lane = len(requests) // _REQUESTS_A_LANE
                requests.append((one, min(room, max_tokens or room), room, self._drawn, lane))
                self._drawn += 1
        self.account.reserve(sum(request[0].tokens for request in requests))
        self.longest = 0
        outcomes = await all_or_none([self._one(*request, prefix, usage, keep) for request in requests])
        samples: dict[State, list[ScoredContinuation]] = {one.state: [] for one in wanted}
        censored = dict.fromkeys(samples, 0)
        for (one, *_), outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, ScoredContinuation):
                samples[one.state].append(outcome)
            elif isinstance(outcome, StalledError):
                censored[one.state] += 1
        return {state: Drawn(tuple(scored), censored[state]) for state, scored in samples.items()}

    async def roots(self, count: int, usage: Usage) -> tuple[ScoredContinuation, ...]:
        """Draw whole responses to the prompt, for callers that have no root rollouts yet."""
        drawn = await self.together([Wanted((), 0, count, 0.0)], lambda state: state, usage)
        return drawn[()].samples

    async def _one(
        self,
        one: Wanted[State],
        max_tokens: int,
        room: int,
        number: int,
        lane: int,
        prefix: Callable[[State], Tokens],
        usage: Usage,
        keep: bool,
    ) -> ScoredContinuation | SamplingError | ScoringError:
        # A string seeds Random through SHA-512, so the seed is the same in every process.
        seed = random.Random(f"{self.seed}/{number}").getrandbits(31)
        usage.requests += 1
        spent = 0
        try:
            async with self._queue.slot(one.tokens):
                kept = prefix(one.state)
                # In arrays before it is scored: a reward may take long, and all that are in flight wait for theirs.
                continuation = _in_arrays(await self.sampler.sample(kept, max_tokens, seed, lane))
            spent = continuation.written_tokens
            usage.tokens += spent
            self.longest = max(self.longest, spent)
            if continuation.cached_tokens is not None:
                usage.context_tokens += continuation.context_tokens
                usage.cached_tokens += continuation.cached_tokens
            cut = max_tokens < room and (len(continuation.token_ids) >= max_tokens or continuation.bounded)
            usage.cut += cut
            scored = await self.scorer.score(() if self.alone else kept, continuation)
            reward = as_number(scored.reward)
            if not math.isfinite(reward):
                raise ScoringError(f"the reward is {scored.reward!r}, which is not a finite number")
            scored = replace(scored, reward=reward, cut=cut or scored.cut)
        except StalledError as error:
            usage.censored += 1
            spent = error.tokens
            return error
        except SamplingError as error:
            usage.sampling_failures += 1
            return error
        except ScoringError as error:
            usage.scoring_failures += 1
            return error
        finally:
            self.account.settle(one.tokens, spent)
        return scored if keep else _without_tokens(scored)


def _in_arrays(continuation: Continuation) -> Continuation:
    """Its tokens and log-probs in arrays: a tuple of Python's numbers takes ten times the memory."""
    log_probs, written = continuation.log_probs, continuation.written
    return replace(
        continuation,
        token_ids=array("i", continuation.token_ids),
        # 32 bits are enough, because log-probs come from tensors of 32 bits.
        log_probs=None if log_probs is None else array("f", log_probs),
        written=None if written is None else array("b", written),
    )


def _without_tokens(scored: ScoredContinuation) -> ScoredContinuation:
    """What a continuation that only gives a value keeps: its reward, and what it cost."""
    light = replace(scored.continuation, token_ids=(), log_probs=None, source=None, written=None)
    return replace(scored, continuation=light, source=None)


async def all_or_none(work: Sequence[Awaitable[T]]) -> list[T]:
    """The results of all; if one raises, the others are cancelled and awaited before the exception is passed on.

    ``asyncio.gather`` would leave them running, and :class:`asyncio.TaskGroup` needs Python 3.11.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
