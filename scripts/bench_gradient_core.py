"""The product's own search and belief on the chains of :mod:`scripts.bench_gradient_chain`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from scripts.bench_gradient_chain import Estimator, Gradients, first_failed, mixed, outcomes, roll, standardized
from verl_gpo.config import GPOConfig
from verl_gpo.core.critical import best_steps
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.search import AnchorView
from verl_gpo.core.types import Continuation, ScoredContinuation, Tokens, Trajectory
from verl_gpo.core.values import UNKNOWN, group_value, observed_value


class ChainPolicy:
    """A chain as the procedure's policy and reward: token 1 is a right step, token 0 a wrong one."""

    def __init__(self, q_K: np.ndarray, rng: np.random.Generator):
        self._q_K, self._rng = q_K, rng

    def trajectory(self, right_K: np.ndarray) -> Trajectory:
        """A response with its log-probs and its reward."""
        return Trajectory(tuple(map(int, right_K)), self._log_probs(right_K, 0), float(right_K.all()))

    def _log_probs(self, right_K: np.ndarray, start: int) -> tuple[float, ...]:
        q_K = self._q_K[start:]
        return tuple(np.log(np.where(right_K, q_K, 1.0 - q_K)).tolist())

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        start = len(prefix)
        right_K = self._rng.random(len(self._q_K) - start) < self._q_K[start:]
        return Continuation(tuple(map(int, right_K)), self._log_probs(right_K, start))

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        return ScoredContinuation(continuation, float(all(prefix) and all(continuation.token_ids)))


def searched(n: int, settings: Mapping[str, Any]) -> Estimator:
    """A search of the product's with ``rollout.n=n``; with ``rows=matched`` further roots take the places left free."""
    config = GPOConfig.from_mapping(settings)

    def run(q_GK, rng) -> Gradients:
        return asyncio.run(_all(config, n, q_GK, rng))

    return run


async def _all(config: GPOConfig, n: int, q_GK: np.ndarray, rng: np.random.Generator) -> Gradients:
    steps = q_GK.shape[1]
    procedure = ReentryProcedure(config, lambda token_ids, log_probs=None: list(range(1, steps + 1)), steps)
    found = [await _group(procedure, n, q_K, rng, f"{number}") for number, q_K in enumerate(q_GK)]
    gradients, tokens, rows = zip(*found, strict=True)
    return Gradients(np.array(gradients), np.array(tokens, dtype=float), float(np.mean(rows)))


async def _group(procedure: ReentryProcedure, n: int, q_K, rng, seed: str) -> tuple[np.ndarray, float, int]:
    """Gradient, tokens and rows of one prompt."""
    config, steps = procedure.config, len(q_K)
    policy = ChainPolicy(q_K, rng)
    right_NK = roll(q_K[None], n - config.reserved_rows, rng)[0]
    result = await procedure.run([policy.trajectory(right_K) for right_K in right_NK], policy, policy, seed)
    tokens = right_NK.size + sum(usage.tokens for usage in result.usage.values())
    gradient, added = np.zeros(steps), 0
    for group in (group for reentry in result.reentries for group in reentry.groups):
        rollouts = group.rollouts[: config.reserved_rows or None]
        rewards = np.array([rollout.reward for rollout in rollouts])
        if len(rollouts) > 1:
            added += len(rollouts)
            start = len(group.prefix)
            right = np.array([rollout.continuation.token_ids for rollout in rollouts])
            gradient[start:] += (standardized(rewards[None])[0][:, None] * (right - q_K[start:])).sum(0)
    if free := max(config.reserved_rows - added, 0):
        right_NK = np.concatenate([right_NK, roll(q_K[None], free, rng)[0]])
        tokens += free * steps
    gradient += (standardized(outcomes(right_NK)[None])[0][:, None] * (right_NK - q_K)).sum(0)
    return gradient, tokens, len(right_NK) + added


def at_believed_loss(q_GK, right_GNK, reentry, rng):
    """The first loss of the first failed root by free evidence: outcome, mean of the roots, log-probs, and the belief.

    Each curve of the belief names the step that loses most. The state with the highest ``E[1(it is here) P(a group is
    mixed)]`` is taken: what a preset that aims at first losses without drawing anything would do.
    """
    groups, steps = q_GK.shape
    anchor_G, failed_G = first_failed(right_GNK)
    state_G = np.zeros(groups, int)
    config = GPOConfig.from_mapping({"search": "informative", "n_reentry": reentry})
    source = np.random.default_rng(rng.integers(2**32))
    for group in np.flatnonzero(failed_G):
        root = ChainPolicy(q_GK[group], rng).trajectory(right_GNK[group, anchor_G[group]])
        view = AnchorView(config, root, tuple(range(1, steps + 1)), steps - 1, steps, random.Random(int(group)))
        value = group_value(outcomes(right_GNK[group]).tolist())
        view.update([value, *[UNKNOWN] * (steps - 1), observed_value(root.reward)], in_first=True)
        curves_SK1, _ = view.belief()
        losing_S = best_steps(curves_SK1, "argmin", view.curve.moves_K, 0.0, source)
        here_SK = losing_S[:, None] == np.arange(steps)
        state_G[group] = (here_SK * mixed(curves_SK1[:, :-1], reentry)).mean(0).argmax()
    return anchor_G, state_G
