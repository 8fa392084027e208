"""Chains of skills, trained: how many tokens a method needs, with the best rate and batch of a ladder.

Each prompt asks for ``K`` skills out of a pool, and a skill has one parameter, whoever asks for it. All rates and seeds
of a batch size are trained side by side, as rows of one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.bench_gradient_chain import SURE, Estimator

TARGET = 0.6
#: Prompts of an optimizer step, and Adam's rates.
BATCHES, RATES = (1, 4, 16), (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
MOST_TOKENS = 400_000
#: Prompts that the success is averaged over.
_ASKED = 2_000


@dataclass(frozen=True)
class Skills:
    """A pool of ``skills`` hard ones, right with ``q`` at first, and one of sure ones in the first ``easy`` steps."""

    steps: int = 24
    skills: int = 300
    easy: int = 0
    q: float = 0.6 ** (6 / 24)


#: Both have the root success 0.047 at first.
CHAINS = {"equal": Skills(), "last quarter": Skills(easy=18, q=0.6)}


def train(estimator: Estimator, pool: Skills, prompts: int, rates: np.ndarray, seeds: int, most: float) -> np.ndarray:
    """Tokens until the mean success reaches the target, infinite where it does not. Shape ``(rates, seeds)``."""
    rng = np.random.default_rng(seeds)
    runs = len(rates) * seeds
    rate_R1 = np.repeat(rates, seeds)[:, None]
    start = np.repeat([pool.q, SURE], pool.skills)
    theta = np.tile(np.log(start / (1 - start)), (runs, 1))
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    tokens_R, found_R = np.zeros(runs), np.full(runs, np.inf)
    offset_K = np.where(np.arange(pool.steps) < pool.easy, pool.skills, 0)
    asked = np.random.default_rng(99).integers(0, pool.skills, (_ASKED, pool.steps)) + offset_K
    run_G = np.repeat(np.arange(runs), prompts)
    before_R, at_R, due = np.zeros(runs), np.zeros(runs), 0.0
    step = 0
    while tokens_R.min() < most and np.isinf(found_R).any():
        q = 1.0 / (1.0 + np.exp(-theta))
        if tokens_R.min() >= due:
            due = max(1.04 * tokens_R.min(), 500.0)
            now_R = np.array([one[asked].prod(-1).mean() for one in q])
            crossed = (now_R >= TARGET) & np.isinf(found_R)
            share_R = (TARGET - before_R) / np.maximum(now_R - before_R, 1e-9)
            found_R[crossed] = (at_R + share_R * (tokens_R - at_R))[crossed]
            before_R, at_R = now_R, tokens_R.copy()
        skill_GK = rng.integers(0, pool.skills, (runs * prompts, pool.steps)) + offset_K
        drawn = estimator(q[run_G[:, None], skill_GK], rng)
        gradient = np.zeros_like(theta)
        np.add.at(gradient, (run_G[:, None], skill_GK), drawn.gradient_GK / (prompts * drawn.rows))
        tokens_R += drawn.tokens_G.reshape(runs, prompts).sum(1)
        step += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        theta += rate_R1 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-5)
    return found_R.reshape(len(rates), seeds)


def tokens_to_learn(estimator: Estimator, name: str, seeds: int) -> dict:
    """Fewest tokens, mean over seeds, of all batch sizes and rates; and all of them."""
    pool, most = CHAINS[name], float(MOST_TOKENS)
    tried = []
    for prompts in BATCHES:
        found = train(estimator, pool, prompts, np.array(RATES), seeds, most)
        tried += [
            {"prompts": prompts, "rate": rate, "tokens": [None if np.isinf(x) else round(float(x)) for x in row]}
            for rate, row in zip(RATES, found, strict=True)
        ]
    reached = [one for one in tried if None not in one["tokens"]]
    best = min(reached, key=lambda one: np.mean(one["tokens"]), default=None)
    if best is None:
        return {"tokens": float("inf"), "prompts": None, "rate": None, "tried": tried}
    return {**best, "by_seed": best["tokens"], "tokens": float(np.mean(best["tokens"])), "tried": tried}
