"""Runs searches on pooled responses: the same procedure as in training, with a pool instead of a policy."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..config import GPOConfig
from ..core.reentry import ReentryProcedure
from ..core.types import Continuation, Sampler, SamplingError, ScoredContinuation, Scorer, Tokens, Trajectory
from ..core.values import Bounds
from ..statistics import wilson_interval
from .pool import PooledResponse
from .truth import BOUNDS, Truth, posterior

#: Values of ``min_confidence`` that are tried.
THRESHOLDS = tuple(number / 10 for number in range(10))


class Policy(Sampler, Scorer, Protocol):
    """A Sampler and Scorer in one object."""


@dataclass(frozen=True)
class Case:
    """One response to search, with its true values.

    Attributes:
        root: the response.
        others: the rest of its group.
        ends: exclusive token positions of the ends of its ``K`` steps.
        values: true ``V(s_0) .. V(s_K)``, or estimates of them.
        response_length: most tokens of a response.
        policy: builds the policy that continues it, given a source of randomness.
        truth: judges the chosen step; None: by ``values``, as the true ones.
    """

    root: Trajectory
    others: tuple[Trajectory, ...]
    ends: tuple[int, ...]
    values: tuple[float, ...]
    response_length: int
    policy: Callable[[random.Random], Policy]
    truth: Truth | None = None

    @property
    def judge(self) -> Truth:
        return self.truth or Truth(np.array(self.values))


def pooled_case(
    response: PooledResponse, values: Sequence[float] | None = None, bounds: Bounds = BOUNDS, seed: int = 0
) -> Case:
    """A pooled response as a case.

    Args:
        values: its true values if they are known; otherwise every second continuation of a state is used to estimate
            them, and the search gets only the others.
        bounds: bounds of the reward.
        seed: of the curves that stand for what is known of the values.
    """
    truth = None
    if values is None:
        reference = replace(response, draws=tuple(draws[0::2] for draws in response.draws))
        response = replace(response, draws=tuple(draws[1::2] for draws in response.draws))
        values = reference.values
        truth = Truth(posterior(response.ends, response.reward, reference.rewards, bounds, seed))
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
        truth,
    )


def stand_in(number: int, tokens: int, reward: float) -> Trajectory:
    """Another response of the group, of which the procedure uses only length and reward, as it is not an anchor."""
    return Trajectory((-1 - number,) * tokens, None, reward)


@dataclass
class Outcome:
    """Results of a setting on pooled responses, one entry for each search.

    A response is *decisive* if one of its steps is important enough; of a pooled response only the probability of that
    is known. A search may find the step of a decisive response (a *hit*) or not (a *miss*). If it chooses a step of
    another response, this is a *false alarm*.

    Attributes:
        decisive: probability that the response is decisive. Empty: all are.
        hit: probability that the response is decisive and the chosen step the most important one.
        alarm: probability that the response is not decisive, where a step was chosen.
        regret: true importance of the best step minus that of the chosen step.
        confidence: confidence of the choice.
        tokens, requests: spent on Monte Carlo continuations.
        extra_tokens: spent on rollouts after the choice.
        learnt: share of all tokens drawn, re-entry included, that are trained on.
        abstained: number of searches that chose no step. Only decisive, tokens and requests have entries for them.
        cpu_seconds: CPU seconds of the procedure itself.
        bias: mean reward of the group that is trained on minus the true value of its state.
        repeats: searches of each response. They share its values, so intervals count them as one.
    """

    decisive: list[float] = field(default_factory=list)
    hit: list[float] = field(default_factory=list)
    alarm: list[float] = field(default_factory=list)
    regret: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    extra_tokens: list[int] = field(default_factory=list)
    learnt: list[float] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    abstained: int = 0
    cpu_seconds: float = 0.0
    repeats: int = 1

    def summary(self) -> dict[str, float]:
        """Means, 95 % Wilson intervals, and the expected calibration error of the confidence."""
        searches, chosen = max(len(self.tokens), 1), len(self.hit)
        decisive = self._decisive()
        # A search that abstains on a decisive response did not find the step, so it counts as a miss.
        rates = self._rates(np.ones(chosen, dtype=bool))
        low, high = _interval(rates["hit_rate"], decisive / self.repeats)
        alarm_low, alarm_high = _interval(rates["false_alarms"], (len(self.tokens) - decisive) / self.repeats)
        return {
            "searches": len(self.tokens),
            "decisive": decisive / searches,
            **rates,
            "hit_low": low,
            "hit_high": high,
            "alarm_low": alarm_low,
            "alarm_high": alarm_high,
            "regret": _mean(self.regret),
            "confidence": _mean(self.confidence),
            "calibration_error": calibration_error(self.confidence, self.hit),
            "tokens": _mean(self.tokens),
            "requests": _mean(self.requests),
            "extra_tokens": _mean(self.extra_tokens),
            "learnt_share": _mean(self.learnt),
            "bias": _mean(self.bias),
            "cpu_ms": 1000 * self.cpu_seconds / searches,
        }

    def by_confidence(self, thresholds: Sequence[float] = THRESHOLDS) -> list[dict[str, float]]:
        """The rates for each ``min_confidence``; thresholds that no search reaches are left out.

        How reliable the confidences are differs between tasks: on some the belief is too cautious.
        """
        stated = np.asarray(self.confidence, dtype=float)
        through = {threshold: stated >= threshold for threshold in thresholds}
        return [{"min_confidence": key, **self._rates(among)} for key, among in through.items() if among.any()]

    def _decisive(self) -> float:
        """Expected number of searches of decisive responses."""
        return float(sum(self.decisive)) if self.decisive else float(len(self.tokens))

    def _rates(self, among: np.ndarray) -> dict[str, float]:
        """Rates if only these of the choices had been made."""
        decisive, searches = self._decisive(), len(self.tokens)
        hits = float(np.asarray(self.hit, dtype=float)[among].sum())
        alarms = float(np.asarray(self.alarm, dtype=float)[among].sum()) if self.alarm else 0.0
        chosen = int(among.sum())
        return {
            "hit_rate": hits / decisive if decisive > _NONE else math.nan,
            "false_alarms": alarms / (searches - decisive) if searches - decisive > _NONE else math.nan,
            "precision": hits / chosen if chosen else math.nan,
            "reentered": chosen / max(searches, 1),
        }


#: An expected number of responses below this is a rounding error.
_NONE = 1e-6


def _interval(share: float, count: float) -> tuple[float, float]:
    return (math.nan, math.nan) if math.isnan(share) or count <= _NONE else wilson_interval(min(share, 1.0), count)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def calibration_error(confidence: Sequence[float], hit: Sequence[float], bins: int = 10) -> float:
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
    """Returns a pooled response's continuations in random order; each is used once before any is used again."""

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
    config: GPOConfig,
    cases: Sequence[Case],
    repeats: int = 1,
    seed: int = 0,
    tolerance: float = 0.0,
    decisive: float = 0.0,
) -> Outcome:
    """Let a setting search each case ``repeats`` times.

    Args:
        config: the setting; anchors and skip rules have no effect here.
        cases: the responses.
        repeats: searches of each.
        seed: seed of the policies' answers and of the procedure's choices.
        tolerance: a step is a hit if its true importance is at most this much below that of the best step.
        decisive: true importance from which a step is decisive; 0: every response is.
    """
    config = replace(config, anchors=1, anchor_outcome="any", skip_groups="none")
    outcome = Outcome(repeats=repeats)

    async def run() -> None:
        for number, case in enumerate(cases):
            for repeat in range(repeats):
                await _search(config, case, f"{seed}/{number}/{repeat}", tolerance, decisive, outcome)

    asyncio.run(run())
    return outcome


async def _search(
    config: GPOConfig, case: Case, name: str, tolerance: float, decisive: float, outcome: Outcome
) -> None:
    engine = ReentryProcedure(config, lambda token_ids, log_probs=None: list(case.ends), case.response_length)
    policy = case.policy(random.Random(name))
    result = await engine.run([case.root, *case.others], policy, policy, name)
    (reentry,) = result.reentries
    value, after = result.usage["value"], result.usage["reentry"]
    outcome.tokens.append(value.tokens)
    outcome.requests.append(value.requests)
    outcome.cpu_seconds += result.cpu_seconds
    outcome.extra_tokens.append(after.tokens)
    drawn = value.tokens + after.tokens
    if drawn:
        outcome.learnt.append(sum(len(r.continuation.token_ids) for r in reentry.rollouts) / drawn)
    for group in reentry.groups:
        if group.critical:
            mean = sum(rollout.reward for rollout in group.rollouts) / len(group.rollouts)
            outcome.bias.append(mean - case.values[group.state])
    judge = case.judge
    probable = judge.decisive(config.rule, decisive) if decisive else 1.0
    outcome.decisive.append(probable)
    if reentry.critical is None:
        outcome.abstained += 1
        return
    step = reentry.critical.index
    outcome.hit.append(float(judge.hit_K(config.rule, decisive or -math.inf, tolerance)[step]))
    outcome.alarm.append(1.0 - probable)
    outcome.regret.append(float(judge.regret_K(config.rule)[step]))
    outcome.confidence.append(reentry.critical.confidence)
