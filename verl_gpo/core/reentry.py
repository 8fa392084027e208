"""The re-entry engine: value states, pick the critical step, reset, resample (GPO's steps 1 to 4, arXiv 2509.16456).

One call handles one prompt. It is a coroutine that waits for nothing but its own requests, so the prompts of a training
step overlap freely, and the requests of one phase of a prompt are in flight together. It knows the policy and the
reward by the Protocols of :mod:`verl_gpo.core.types` only.

A request that fails costs its own estimate and is counted; it never costs the prompt.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace

from ..config import GPOConfig
from .critical import CriticalStep, needs_values, select_critical_step
from .types import Sampler, SamplingError, ScoredContinuation, Scorer, ScoringError, Splitter, Tokens, Trajectory
from .values import UNKNOWN, StateValue, group_value, monte_carlo_value, observed_value, step_advantages


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


@dataclass(frozen=True)
class Reentry:
    """One anchor response: where it was cut, what its states are worth, and what was sampled from the reset state.

    Attributes:
        anchor: index of the response in the group.
        ends: ``(K,)`` exclusive token positions of the steps' ends.
        values: ``(K + 1,)`` state values; all but the free ones unknown under a rule that needs none.
        critical: the critical step, or None: then nothing was resampled.
        prefix: the response tokens that are kept, the reset state.
        rollouts: new rollouts from the reset state, at most ``n_reentry``; failed ones are missing.
    """

    anchor: int
    ends: tuple[int, ...]
    values: tuple[StateValue, ...]
    critical: CriticalStep | None
    reset_index: int | None = None
    prefix: Tokens = ()
    rollouts: tuple[ScoredContinuation, ...] = ()


@dataclass
class GroupResult:
    """All re-entries of one prompt and their cost, by phase ``value`` (Monte Carlo) and ``reenter``."""

    reentries: list[Reentry] = field(default_factory=list)
    usage: dict[str, Usage] = field(default_factory=lambda: {"value": Usage(), "reenter": Usage()})


class ReentryEngine:
    """Runs GPO's search and re-entry for the group of one prompt.

    Args:
        config: see :class:`verl_gpo.config.GPOConfig`.
        splitter: response tokens to step ends.
        response_length: most tokens of a response, kept prefix included.
    """

    def __init__(self, config: GPOConfig, splitter: Splitter, response_length: int):
        self.config = config
        self.splitter = splitter
        self.response_length = response_length

    async def run(self, roots_N: Sequence[Trajectory], sampler: Sampler, scorer: Scorer, seed: str = "") -> GroupResult:
        """Search the group's anchors for critical steps and sample new rollouts from the reset states.

        Args:
            roots_N: the rollouts that the group sampled from the prompt, with their rewards.
            sampler: continues this prompt's states.
            scorer: scores this prompt's responses.
            seed: names the prompt; together with ``config.seed`` it fixes every random choice of the engine.

        Returns:
            One :class:`Reentry` for each anchor. Anchors without tokens have no steps and so no critical one.
        """
        config = self.config
        result = GroupResult()
        anchors = list(range(min(config.anchors, len(roots_N))))
        splits = {a: tuple(self.splitter(roots_N[a].token_ids)) for a in anchors}
        draw = _Draw(sampler, scorer, self.response_length, f"{config.seed}/{seed}")

        started = time.perf_counter()
        values: dict[Tokens, StateValue] = {}
        if needs_values(config.rule):
            values = await self._value_states([(roots_N[a], splits[a]) for a in anchors], draw, result.usage["value"])
        result.usage["value"].seconds = time.perf_counter() - started

        started = time.perf_counter()
        values[()] = group_value([root.reward for root in roots_N])
        rng = random.Random(f"{config.seed}/{seed}")
        chosen = [self._choose(a, roots_N[a], splits[a], values, rng) for a in anchors]
        result.reentries = list(
            await asyncio.gather(*(self._resample(choice, draw, result.usage["reenter"]) for choice in chosen))
        )
        result.usage["reenter"].seconds = time.perf_counter() - started
        return result

    async def _value_states(self, anchors, draw: _Draw, usage: Usage) -> dict[Tokens, StateValue]:
        """Uniform Monte Carlo: ``n_mc`` continuations at every inner state; identical prefixes are valued once.

        ``s_0`` and ``s_K`` are free and left out; so are states whose prefix is over the budget.
        """
        budget = self.config.prefix_budget(self.response_length)
        prefixes = dict.fromkeys(root.token_ids[:end] for root, ends in anchors for end in ends[:-1] if end <= budget)
        samples = await asyncio.gather(*(draw.many(p, self.config.n_mc, usage) for p in prefixes))
        return {prefix: monte_carlo_value(drawn) for prefix, drawn in zip(prefixes, samples, strict=True)}

    def _choose(self, anchor: int, root: Trajectory, ends, values: dict[Tokens, StateValue], rng) -> Reentry:
        """Select the critical step of one anchor and the state to reset to."""
        if not ends:
            return Reentry(anchor, (), (values[()],), None)
        starts = (0, *ends[:-1])
        states = [values.get(root.token_ids[:start], UNKNOWN) for start in starts] + [observed_value(root.reward)]
        advantages = step_advantages(states)
        # Only steps whose reset state fits the prefix budget can be chosen. Budgets cut at the end, so they are a head.
        budget = self.config.prefix_budget(self.response_length)
        after = self.config.reset == "after"
        eligible = sum(end <= budget for end in ends[:-1]) if after else sum(start <= budget for start in starts)
        critical = select_critical_step(advantages[:eligible], self.config.rule, self.config.min_advantage, rng)
        if critical is None:
            return Reentry(anchor, ends, tuple(states), None)
        reset_index = critical.index + after
        return Reentry(anchor, ends, tuple(states), critical, reset_index, root.token_ids[: (0, *ends)[reset_index]])

    async def _resample(self, choice: Reentry, draw: _Draw, usage: Usage) -> Reentry:
        """Sample fresh rollouts from the reset state; those that chose it are biased and not learnt from."""
        if choice.critical is None:
            return choice
        return replace(choice, rollouts=await draw.many(choice.prefix, self.config.n_reentry, usage))


class _Draw:
    """Samples and scores continuations, and keeps the books."""

    def __init__(self, sampler: Sampler, scorer: Scorer, response_length: int, seed: str):
        self._sampler, self._scorer = sampler, scorer
        self._response_length = response_length
        self._seed = seed
        self._drawn = 0

    async def many(self, prefix: Tokens, count: int, usage: Usage) -> tuple[ScoredContinuation, ...]:
        """Draw ``count`` continuations of ``prefix`` at once; those that fail are counted and left out."""
        max_tokens = self._response_length - len(prefix)
        jobs: list[Awaitable[ScoredContinuation | None]] = []
        for _ in range(count if max_tokens >= 1 else 0):
            jobs.append(self._one(prefix, max_tokens, self._drawn, usage))
            self._drawn += 1
        return tuple(s for s in await asyncio.gather(*jobs) if s is not None)

    async def _one(self, prefix: Tokens, max_tokens: int, number: int, usage: Usage) -> ScoredContinuation | None:
        # A string seeds Random through SHA-512, so the seed is the same in every process.
        seed = random.Random(f"{self._seed}/{number}").getrandbits(31)
        usage.requests += 1
        try:
            continuation = await self._sampler.sample(prefix, max_tokens, seed)
        except SamplingError:
            usage.sampling_failures += 1
            return None
        usage.tokens += len(continuation.token_ids)
        if continuation.cached_tokens is not None:
            usage.context_tokens += continuation.context_tokens
            usage.cached_tokens += continuation.cached_tokens
        try:
            return await self._scorer.score(prefix, continuation)
        except ScoringError:
            usage.scoring_failures += 1
            return None
