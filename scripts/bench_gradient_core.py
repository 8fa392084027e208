"""The product's own search and belief on the chains of :mod:`scripts.bench_gradient_chain`."""

from __future__ import annotations

import asyncio
import random

import numpy as np

from scripts.bench_gradient_chain import Estimator, Gradients, first_failed, mixed, outcomes
from verl_gpo.config import GPOConfig
from verl_gpo.core.critical import best_steps
from verl_gpo.core.search import AnchorView
from verl_gpo.core.types import Continuation, ScoredContinuation, Tokens, Trajectory
from verl_gpo.core.values import UNKNOWN, group_value, observed_value
from verl_gpo.forecast.methods import Method, method
from verl_gpo.forecast.sample import Source, draw_group


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


def searched(name: str, n: int = 8) -> Estimator:
    """A method of ``verl_gpo.forecast`` with ``rollout.n=n``: what it draws and credits is the product's own."""
    chosen = method(name, n, {"min_step_tokens": 1})

    def run(q_GK, rng) -> Gradients:
        return asyncio.run(_all(chosen, q_GK, rng))

    return run


async def _all(chosen: Method, q_GK: np.ndarray, rng: np.random.Generator) -> Gradients:
    steps = q_GK.shape[1]
    ends_K = list(range(1, steps + 1))
    gradient_GK, tokens, rows = np.zeros(q_GK.shape), [], []
    for number, q_K in enumerate(q_GK):
        policy = ChainPolicy(q_K, rng)
        source = Source(number, policy, policy)
        drawn = await draw_group(chosen, source, lambda ids, log_probs=None: ends_K, steps, 0, number)
        for row in drawn.learnt:
            advantages_K, start = np.zeros(steps), row.start
            for end, advantage in row.runs:
                advantages_K[start:end], start = advantage, end
            gradient_GK[number] += advantages_K * (np.array(row.token_ids) - q_K)
        tokens.append(drawn.tokens)
        rows.append(drawn.rows)
    return Gradients(gradient_GK, np.array(tokens, dtype=float), float(np.mean(rows)))


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
