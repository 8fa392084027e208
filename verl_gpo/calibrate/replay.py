"""Strategies searching pooled responses: the engine that trains, with a pool in place of a policy."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..config import GPOConfig
from ..core.critical import RULES
from ..core.reentry import ReentryProcedure
from ..core.types import Continuation, Sampler, SamplingError, ScoredContinuation, Scorer, Tokens, Trajectory
from ..statistics import wilson_interval
from .pool import PooledResponse

#: Values of ``min_confidence`` that are looked at.
THRESHOLDS = tuple(number / 10 for number in range(10))


class Policy(Sampler, Scorer, Protocol):
    """Continues and scores in one."""


@dataclass(frozen=True)
class Case:
    """One response to search, with what is true of it.

    Attributes:
        root: the response.
        others: the rest of its group.
        ends: exclusive token positions of the ends of its ``K`` steps.
        values: true ``V(s_0) .. V(s_K)``.
        response_length: most tokens of a response.
        policy: makes what continues it, given a source of randomness.
    """

    root: Trajectory
    others: tuple[Trajectory, ...]
    ends: tuple[int, ...]
    values: tuple[float, ...]
    response_length: int
    policy: Callable[[random.Random], Policy]

    def importance(self, rule: str) -> np.ndarray:
        """True importance of each step by a rule. Shape ``(K,)``."""
        return RULES[rule](np.diff(np.array(self.values)))


def pooled_case(response: PooledResponse, values: Sequence[float] | None = None) -> Case:
    """A pooled response as a case.

    Args:
        values: its true values where they are known; otherwise every second continuation of a state serves as the
            reference for them, and only the others are dealt out to the search.
    """
    if values is None:
        reference = replace(response, draws=tuple(draws[0::2] for draws in response.draws))
        response = replace(response, draws=tuple(draws[1::2] for draws in response.draws))
        values = reference.values
    others = tuple(
        stand_in(number, tokens, reward)
        for number, (tokens, reward) in enumerate(
            zip(response.group_tokens[1:], response.group_rewards[1:], strict=True)
        )
    )
    return Case(
        Trajectory(response.token_ids, response.log_probs, response.reward),
        others,
        response.ends,
        tuple(values),
        response.response_length,
        lambda rng: PoolPolicy(response, rng),
    )


def stand_in(number: int, tokens: int, reward: float) -> Trajectory:
    """Another response of the group: of those that are no anchor the engine uses length and reward only."""
    return Trajectory((-1 - number,) * tokens, None, reward)


@dataclass
class Outcome:
    """What a setting did on pooled responses, one entry a search.

    Attributes:
        hit: the chosen step is a true best one.
        regret: true importance that the choice gave away.
        confidence: stated for the choice.
        tokens, requests: spent on Monte Carlo continuations.
        extra_tokens: spent on rollouts after the choice.
        learnt: share of all tokens drawn, re-entry included, that are learnt from.
        abstained: searches, of all, that chose nothing. They are in no other list but tokens and requests.
        cpu_seconds: computed by the engine itself.
        bias: mean reward of the group that is learnt from less the true value of its state.
    """

    hit: list[bool] = field(default_factory=list)
    regret: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    extra_tokens: list[int] = field(default_factory=list)
    learnt: list[float] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    abstained: int = 0
    cpu_seconds: float = 0.0

    def summary(self) -> dict[str, float]:
        """Means, the hit rate's 95 % Wilson interval, and the expected calibration error of the confidence."""
        searches = max(len(self.tokens), 1)
        chosen = len(self.hit)
        # A search that abstained did not find the step: it is a miss, so that a coward does not look precise.
        rate = sum(self.hit) / searches
        low, high = wilson_interval(rate, searches)
        return {
            "searches": len(self.tokens),
            "hit_rate": rate,
            "hit_low": low,
            "hit_high": high,
            "precision": sum(self.hit) / chosen if chosen else math.nan,
            "regret": _mean(self.regret),
            "reentered": chosen / searches,
            "confidence": _mean(self.confidence),
            "calibration_error": calibration_error(self.confidence, self.hit),
            "tokens": _mean(self.tokens),
            "requests": _mean(self.requests),
            "extra_tokens": _mean(self.extra_tokens),
            "learnt_share": _mean(self.learnt),
            "bias": _mean(self.bias),
            "engine_ms": 1000 * self.cpu_seconds / searches,
        }

    def by_confidence(self, thresholds: Sequence[float] = THRESHOLDS) -> list[dict[str, float]]:
        """What each ``min_confidence`` would have let through: the share of searches, and how many of those hit.

        What a policy's confidences are worth differs between tasks: the belief errs towards caution on some. Thresholds
        that let nothing through are left out.
        """
        stated, hit = np.asarray(self.confidence, dtype=float), np.asarray(self.hit, dtype=float)
        rows = []
        for threshold in thresholds:
            through = stated >= threshold
            if through.any():
                share = float(through.sum()) / len(self.tokens)
                precision = float(hit[through].mean())
                rows.append({"min_confidence": threshold, "reentered": share, "precision": precision})
        return rows


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def calibration_error(confidence: Sequence[float], hit: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): mean distance of stated and realized precision, by decile."""
    stated, realized = np.asarray(confidence, dtype=float), np.asarray(hit, dtype=float)
    known = ~np.isnan(stated)
    stated, realized = stated[known], realized[known]
    if not len(stated):
        return math.nan
    index = np.minimum((stated * bins).astype(int), bins - 1)
    gaps = [
        (index == b).mean() * abs(stated[index == b].mean() - realized[index == b].mean()) for b in np.unique(index)
    ]
    return float(sum(gaps))


class PoolPolicy:
    """Deals out a pooled response's continuations, shuffled, each once before any comes again."""

    def __init__(self, response: PooledResponse, rng: random.Random):
        self._response, self._rng = response, rng
        self._at = {end: k for k, end in enumerate(response.ends[:-1])}
        self._decks: dict[int, list[tuple[int, float]]] = {}

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        deck = self._decks.setdefault(len(prefix), [])
        if not deck:
            deck.extend(self._draws(len(prefix)))
            self._rng.shuffle(deck)
        if not deck:
            raise SamplingError("nothing was drawn here")
        length, reward = deck.pop()
        return Continuation((0,) * length, source=reward)

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        return ScoredContinuation(continuation, continuation.source)

    def _draws(self, position: int) -> Sequence[tuple[int, float]]:
        if position == 0:
            return list(zip(self._response.group_tokens, self._response.group_rewards, strict=True))
        return self._response.draws[self._at[position]]


def replay(
    config: GPOConfig, cases: Sequence[Case], repeats: int = 1, seed: int = 0, tolerance: float = 0.0
) -> Outcome:
    """Let a setting search each case ``repeats`` times.

    Args:
        config: the setting; anchors and skip rules have no effect here.
        cases: the responses.
        repeats: searches of each.
        seed: of the policies' answers and of the engine's choices.
        tolerance: a step hits if its true importance is within so much of the best.
    """
    config = replace(config, anchors=1, anchor_outcome="any", skip_groups="none")
    outcome = Outcome()

    async def run() -> None:
        for number, case in enumerate(cases):
            for repeat in range(repeats):
                await _search(config, case, f"{seed}/{number}/{repeat}", tolerance, outcome)

    asyncio.run(run())
    return outcome


async def _search(config: GPOConfig, case: Case, name: str, tolerance: float, outcome: Outcome) -> None:
    engine = ReentryProcedure(config, lambda token_ids, log_probs=None: list(case.ends), case.response_length)
    policy = case.policy(random.Random(name))
    result = await engine.run([case.root, *case.others], policy, policy, name)
    (reentry,) = result.reentries
    value, reentry = result.usage["value"], result.usage["reentry"]
    outcome.tokens.append(value.tokens)
    outcome.requests.append(value.requests)
    outcome.cpu_seconds += result.cpu_seconds
    outcome.extra_tokens.append(reentry.tokens)
    drawn = value.tokens + reentry.tokens
    if drawn:
        outcome.learnt.append(sum(len(r.continuation.token_ids) for r in reentry.rollouts) / drawn)
    for group in reentry.groups:
        if group.critical:
            mean = sum(rollout.reward for rollout in group.rollouts) / len(group.rollouts)
            outcome.bias.append(mean - case.values[group.state])
    if reentry.critical is None:
        outcome.abstained += 1
        return
    importance_K = case.importance(config.rule)
    best = float(np.nanmax(importance_K))
    chosen = float(importance_K[reentry.critical.index])
    outcome.hit.append(chosen >= best - tolerance - 1e-9)
    outcome.regret.append(best - chosen)
    outcome.confidence.append(reentry.critical.confidence)
