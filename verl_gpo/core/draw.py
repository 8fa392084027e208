"""Draws continuations through the Protocols, bounds how many are in flight, and keeps the books."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .budget import TokenBudget
from .types import Sampler, SamplingError, ScoredContinuation, Scorer, ScoringError, Tokens


@dataclass
class Usage:
    """What one phase of one prompt cost. Tokens count what the policy generated, not the context it read."""

    requests: int = 0
    tokens: int = 0
    context_tokens: int = 0
    cached_tokens: int = 0
    sampling_failures: int = 0
    scoring_failures: int = 0
    seconds: float = 0.0


class Draw:
    """Samples and scores continuations of one prompt's states.

    Args:
        sampler: continues the prompt's states.
        scorer: scores the prompt's responses.
        response_length: most tokens of a response, kept prefix included.
        seed: names the prompt; requests are seeded by it and by their number.
        slots: bounds the requests in flight; shared between prompts.
        budget: the tokens drawn count against it.
    """

    def __init__(
        self,
        sampler: Sampler,
        scorer: Scorer,
        response_length: int,
        seed: str,
        slots: asyncio.Semaphore,
        budget: TokenBudget,
    ):
        self._sampler, self._scorer = sampler, scorer
        self._response_length = response_length
        self._seed = seed
        self._slots = slots
        self._budget = budget
        self._drawn = 0

    async def together(
        self, wanted: Mapping[Tokens, int], max_tokens: int, usage: Usage
    ) -> dict[Tokens, tuple[ScoredContinuation, ...]]:
        """Draw continuations, all at once.

        Args:
            wanted: prefix -> number of continuations.
            max_tokens: bound on a continuation's length besides the response length; 0 for none.
            usage: where the cost is added up.

        Returns:
            prefix -> the continuations that came back, in the order they were asked for; those that failed are counted
            and left out.
        """
        numbered = []
        for prefix, count in wanted.items():
            room = self._response_length - len(prefix)
            for _ in range(count if room >= 1 else 0):
                numbered.append((prefix, min(room, max_tokens or room), self._drawn))
                self._drawn += 1
        scored = await asyncio.gather(*(self._one(*request, usage) for request in numbered))
        drawn: dict[Tokens, tuple[ScoredContinuation, ...]] = dict.fromkeys(wanted, ())
        for (prefix, _, _), sample in zip(numbered, scored, strict=True):
            if sample is not None:
                drawn[prefix] += (sample,)
        return drawn

    async def _one(self, prefix: Tokens, max_tokens: int, number: int, usage: Usage) -> ScoredContinuation | None:
        # A string seeds Random through SHA-512, so the seed is the same in every process.
        seed = random.Random(f"{self._seed}/{number}").getrandbits(31)
        usage.requests += 1
        try:
            async with self._slots:
                continuation = await self._sampler.sample(prefix, max_tokens, seed)
        except SamplingError:
            usage.sampling_failures += 1
            return None
        usage.tokens += len(continuation.token_ids)
        self._budget.spend(len(continuation.token_ids))
        if continuation.cached_tokens is not None:
            usage.context_tokens += continuation.context_tokens
            usage.cached_tokens += continuation.cached_tokens
        try:
            scored = await self._scorer.score(prefix, continuation)
        except ScoringError:
            usage.scoring_failures += 1
            return None
        cut = len(continuation.token_ids) >= max_tokens < self._response_length - len(prefix)
        return replace(scored, cut=True) if cut else scored
