"""Chains of steps with a known gradient, and the gradient that each method estimates from one group of rollouts.

A prompt asks for ``K`` steps. A step is one token that is right or wrong, right with probability ``q_k =
sigmoid(theta_k)``, whatever came before it. The reward is 1 if all steps are right. So a state in front of step ``k``
has the value ``q_k ... q_{K-1}`` if every step before it was right, and 0 otherwise; the expected reward is ``J = q_0
... q_{K-1}``, its gradient is ``dJ/dtheta_k = J (1 - q_k)``, and the score of a token is ``right - q_k``.

Suffixes: ``_G`` group (one prompt), ``_N`` rollout, ``_K`` step. All estimators take ``q_GK`` and a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Probability that a step which is not pivotal is right.
SURE = 0.999
PLACES = ("early", "spread", "late")


def chain(steps: int, pivotal: int, place: str, success: float) -> np.ndarray:
    """``q_K`` of a chain whose pivotal steps are equally hard, so that a root succeeds with about this probability.

    Args:
        steps: ``K``.
        pivotal: number of steps that may fail.
        place: ``early``, ``spread`` or ``late``: where they are.
        success: the product of their probabilities.
    """
    at = {
        "early": np.arange(pivotal),
        "spread": np.linspace(0, steps - 1, pivotal + 2)[1:-1].round().astype(int),
        "late": np.arange(steps - pivotal, steps),
    }[place if pivotal < steps else "early"]
    q_K = np.full(steps, SURE)
    q_K[at] = success ** (1 / pivotal)
    return q_K


def policy_gradient(q_K: np.ndarray) -> np.ndarray:
    """``dJ/dtheta``, exact. Shape ``(..., K)``."""
    return q_K.prod(-1, keepdims=True) * (1.0 - q_K)


def exact_values(q_K: np.ndarray, right_K: np.ndarray) -> np.ndarray:
    """``V(s_0) .. V(s_K)`` along a response. Shapes ``(..., K)`` to ``(..., K + 1)``."""
    ahead = np.flip(np.cumprod(np.flip(q_K, -1), -1), -1)
    ahead = np.concatenate([ahead, np.ones_like(ahead[..., :1])], -1)
    on_track = np.concatenate([np.ones_like(right_K[..., :1]), np.logical_and.accumulate(right_K, -1)], -1)
    return ahead * on_track


@dataclass
class Gradients:
    """What one group of each prompt gave.

    Attributes:
        gradient_GK: sum over rows of advantage times score.
        tokens_G: tokens that were generated.
        rows: rows that are trained on.
    """

    gradient_GK: np.ndarray
    tokens_G: np.ndarray
    rows: float


Estimator = Callable[[np.ndarray, np.random.Generator], Gradients]


def roll(q_GK, rows, rng, start_G=None, anchor_GK=None) -> np.ndarray:
    """Whether each step of new rollouts is right; before ``start_G`` they keep the anchor's. Shape ``(G, N, K)``."""
    groups, steps = q_GK.shape
    right = rng.random((groups, rows, steps)) < q_GK[:, None]
    if start_G is None:
        return right
    return np.where((np.arange(steps) < start_G[:, None])[:, None], anchor_GK[:, None], right)


def outcomes(right_GNK) -> np.ndarray:
    """Rewards."""
    return right_GNK.all(-1).astype(float)


def standardized(rewards_GN) -> np.ndarray:
    """GRPO's advantages."""
    return (rewards_GN - rewards_GN.mean(1, keepdims=True)) / (rewards_GN.std(1, ddof=1, keepdims=True) + 1e-6)


def score_sum(q_GK, right_GNK, advantages, start_G=None) -> np.ndarray:
    """Sum over rows of advantage times score, from ``start_G`` on; advantages of rows, or of their steps."""
    if advantages.ndim == 2:
        advantages = advantages[..., None]
    found_GK = (advantages * (right_GNK - q_GK[:, None])).sum(1)
    return found_GK if start_G is None else found_GK * (np.arange(q_GK.shape[1]) >= start_G[:, None])


def grpo(n: int, by_std: bool = True) -> Estimator:
    """``n`` rollouts from the prompt; without the deviation it is Dr.GRPO."""

    def run(q_GK, rng) -> Gradients:
        right = roll(q_GK, n, rng)
        rewards = outcomes(right)
        advantages = standardized(rewards) if by_std else rewards - rewards.mean(1, keepdims=True)
        return Gradients(score_sum(q_GK, right, advantages), np.full(len(q_GK), n * q_GK.shape[1]), n)

    return run


def pods(n: int, m: int) -> Estimator:
    """PODS (arXiv 2504.13818): of ``n`` rollouts the ``m`` whose rewards vary most are trained on.

    With two outcomes these are as near to half of each as there are. Advantages are standardized over them.
    """

    def run(q_GK, rng) -> Gradients:
        right = roll(q_GK, n, rng)
        order = np.argsort(outcomes(right), axis=1, kind="stable")
        worst, best = order[:, : m // 2], order[:, n - (m - m // 2) :]
        kept = np.take_along_axis(right, np.concatenate([worst, best], 1)[..., None], 1)
        tokens = np.full(len(q_GK), n * q_GK.shape[1])
        return Gradients(score_sum(q_GK, kept, standardized(outcomes(kept))), tokens, m)

    return run


def known_credit(n: int) -> Estimator:
    """``credit=steps`` on all of ``n`` roots with exact values, for nothing: unbiased, and what a search could give."""

    def run(q_GK, rng) -> Gradients:
        right = roll(q_GK, n, rng)
        values = exact_values(q_GK[:, None].repeat(n, 1), right)
        tokens = np.full(len(q_GK), n * q_GK.shape[1])
        return Gradients(score_sum(q_GK, right, np.diff(values, axis=-1)), tokens, n)

    return run


def sampled_credit(n: int, anchors: int, n_mc: int) -> Estimator:
    """``credit=steps`` with the means of ``n_mc`` continuations at every state of the first ``anchors`` roots.

    ``V(s_0)`` is the mean of the roots, the last value is the outcome. The other roots keep their outcome's advantage,
    here not standardized, so that both have one unit. All roots and ``n_mc=9``: VinePPO (arXiv 2410.01679), but that it
    draws at the prompt as well.
    """

    def run(q_GK, rng) -> Gradients:
        groups, steps = q_GK.shape
        right = roll(q_GK, n, rng)
        rewards = outcomes(right)
        values = exact_values(q_GK[:, None].repeat(anchors, 1), right[:, :anchors])
        inner = rng.binomial(n_mc, values[..., 1:-1]) / n_mc
        first = np.broadcast_to(rewards.mean(1)[:, None, None], (groups, anchors, 1))
        credit = np.diff(np.concatenate([first, inner, rewards[:, :anchors, None]], -1), axis=-1)
        plain = (rewards - rewards.mean(1, keepdims=True))[:, anchors:]
        found = score_sum(q_GK, right[:, :anchors], credit) + score_sum(q_GK, right[:, anchors:], plain)
        search = anchors * n_mc * sum(steps - k for k in range(1, steps))
        return Gradients(found, np.full(groups, n * steps + search), n)

    return run


#: Chooses a reset state for each group: ``(q_GK, right_GNK, n_reentry, rng)`` to anchors and states; 0: no reset.
Choice = Callable[..., tuple[np.ndarray, np.ndarray]]


def reset(roots: int, reentry: int, choose: Choice) -> Estimator:
    """``rows=matched`` without a search: roots, and a group from the chosen state; without one further roots."""

    def run(q_GK, rng) -> Gradients:
        groups, steps = q_GK.shape
        right = roll(q_GK, roots, rng)
        anchor_G, state_G = choose(q_GK, right, reentry, rng)
        anchor_GK = right[np.arange(groups), anchor_G]
        new = roll(q_GK, reentry, rng, state_G, anchor_GK)
        resets = state_G > 0
        apart = score_sum(q_GK, right, standardized(outcomes(right)))
        apart += score_sum(q_GK, new, standardized(outcomes(new)), state_G)
        both = np.concatenate([right, new], 1)
        together = score_sum(q_GK, both, standardized(outcomes(both)))
        found = np.where(resets[:, None], apart, together)
        return Gradients(found, roots * steps + reentry * (steps - state_G), roots + reentry)

    return run


def _first(groups: int) -> np.ndarray:
    return np.zeros(groups, int)


def at_random(q_GK, right_GNK, reentry, rng):
    """Any state of the first root."""
    groups, steps = q_GK.shape
    return _first(groups), rng.integers(0, steps, groups)


def mixed(value, size):
    """Probability that ``size`` rollouts of a state do not all have one outcome."""
    return 1.0 - value**size - (1.0 - value) ** size


def most_informative(q_GK, right_GNK, reentry, rng):
    """The score of ``search=informative`` with exact values."""
    groups, steps = q_GK.shape
    anchor = right_GNK[:, 0]
    values = exact_values(q_GK, anchor)[:, :-1]
    unsure = np.where(anchor, 1.0 - q_GK, q_GK)
    ahead = np.flip(np.cumsum(np.flip(unsure, 1), 1), 1)
    cost = right_GNK.shape[1] * steps + reentry * (steps - np.arange(steps))
    return _first(groups), (mixed(values, reentry) * ahead / cost).argmax(1)


def most_mixed_tokens(q_GK, right_GNK, reentry, rng):
    """The same, but that every token ahead counts, those of which the policy is sure included."""
    groups, steps = q_GK.shape
    values = exact_values(q_GK, right_GNK[:, 0])[:, :-1]
    ahead = steps - np.arange(steps)
    return _first(groups), (mixed(values, reentry) * ahead / (right_GNK.shape[1] * steps + reentry * ahead)).argmax(1)


def at_pivotal(q_GK, right_GNK, reentry, rng):
    """The state before a pivotal step, known by an oracle, whose group is most probably mixed."""
    values = exact_values(q_GK, right_GNK[:, 0])[:, :-1]
    return _first(len(q_GK)), (mixed(values, reentry) * (1.0 - q_GK)).argmax(1)


def first_failed(right_GNK) -> tuple[np.ndarray, np.ndarray]:
    """The first failed root of each group, and whether there is one."""
    failed = ~right_GNK.all(-1)
    return failed.argmax(1), failed.any(1)


def at_first_error(q_GK, right_GNK, reentry, rng):
    """The state before the first wrong step of the first failed root, known by an oracle; no reset if none failed."""
    anchor_G, any_G = first_failed(right_GNK)
    wrong = ~right_GNK[np.arange(len(q_GK)), anchor_G]
    return anchor_G, np.where(any_G, wrong.argmax(1), 0)


def at_least_probable(q_GK, right_GNK, reentry, rng):
    """The state before the least probable token of the first failed root: free, and known without an oracle."""
    anchor_G, any_G = first_failed(right_GNK)
    anchor = right_GNK[np.arange(len(q_GK)), anchor_G]
    written = np.where(anchor, q_GK, 1.0 - q_GK)
    return anchor_G, np.where(any_G, written.argmin(1), 0)
