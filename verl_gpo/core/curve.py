"""What is believed about all values of a response, given the few that were sampled.

Values of neighbouring states are not independent: along most steps nothing happens. The belief is a Markov chain over
``V(s_0) .. V(s_K)`` on a grid, so that a continuation drawn at one state says something about its neighbours, and exact
samples of whole curves cost milliseconds. From them come the probability that a step is the best one (its confidence)
and, for the adaptive search, which state to sample next.

The chain runs backwards from the observed outcome ``V(s_K) = R``. Let ``p_k`` be the probability that the policy gave
to step ``k`` as a whole. Since ``V(s_k)`` averages over all that the policy could have written,

    ``V(s_k) = p_k V(s_{k+1}) + (1 - p_k) U_k``,  hence  ``|A_k| <= (1 - p_k) (R_max - R_min)``,

with ``U_k`` the value of the other ways to write the step. Either they are worth as much as the one written and the
value stays, but for a small drift, or the step is a jump: then ``U_k`` is nothing (every other way fails) or anything.
So the rollout's own log-probs, which are free, bound each advantage, and a step that the policy was sure of cannot be
critical. The prior probability of a jump is shared out over the steps by their number of uncertain tokens,
``sum_t (1 - p_t)``. ``scripts/bench_search.py`` measures whether confidences from this prior are calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Values that a state can have, as shares of the reward's range.
GRID = np.linspace(0.0, 1.0, 33)
_EDGES = np.concatenate([[0.0], (GRID[1:] + GRID[:-1]) / 2, [1.0]])
#: No state is taken to be beyond all doubt, so that one stray reward cannot make a curve impossible.
_LOG_SUCCESS, _LOG_FAILURE = np.log(np.clip(GRID, 0.004, 1.0)), np.log(np.clip(1.0 - GRID, 0.004, 1.0))

#: Jumps that a response is expected to have, whatever its length.
EXPECTED_JUMPS = 3.0
#: No step is taken to be a jump for sure.
_MOST_PROBABLE_JUMP = 0.9
#: Share of jumps at which every other way to write the step fails.
_ALL_OR_NOTHING = 0.3
#: Probability that a value moves to a neighbouring grid point over a step without a jump.
_DRIFT = 0.1
#: Share of the expected jumps that is spread evenly, in case the policy is surest where it errs.
_EVEN_SHARE = 0.1


class ValueCurve:
    """The belief about the values of one response.

    Args:
        ends_K: exclusive token positions of the steps' ends.
        outcome: ``V(s_K)`` as a share of the reward's range, in [0, 1].
        log_probs_T: log-probs of the response's tokens under the distribution they were sampled from, or None: then
            nothing bounds a step and all are as likely to hold a jump.
    """

    def __init__(self, ends_K: Sequence[int], outcome: float, log_probs_T: Sequence[float] | None = None):
        self.steps = len(ends_K)
        self._outcome = int(np.argmin(np.abs(GRID - outcome)))
        forks_K, sure_K = step_uncertainty(ends_K, log_probs_T)
        total = float(forks_K.sum())
        share_K = forks_K / total if total > 0 else np.full(self.steps, 1.0 / max(self.steps, 1))
        share_K = (1 - _EVEN_SHARE) * share_K + _EVEN_SHARE / max(self.steps, 1)
        jump_K = np.minimum(1.0 - np.exp(-EXPECTED_JUMPS * share_K), _MOST_PROBABLE_JUMP)
        self._kernels_KGG = _kernels(jump_K, sure_K)

    def sample(self, successes_K: np.ndarray, counts_K: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draw whole curves from the belief, exactly (forward filtering, backward sampling).

        Args:
            successes_K: rewards of the continuations from ``s_0 .. s_{K-1}``, as shares of the range, summed.
            counts_K: how many there were; 0 where none.
            size: number of curves.
            rng: source of randomness.

        Returns:
            Shares of the reward's range. Shape ``(size, K + 1)``.
        """
        likelihood_KG = np.outer(successes_K, _LOG_SUCCESS) + np.outer(counts_K - successes_K, _LOG_FAILURE)
        filtered_KG = np.empty_like(likelihood_KG)
        message = np.ones(len(GRID))
        for k in range(self.steps):
            # In logarithms, so that much evidence against a value does not make it impossible.
            here = np.log(np.maximum(message, 1e-300)) + likelihood_KG[k]
            filtered_KG[k] = np.exp(here - here.max())
            message = self._kernels_KGG[k] @ filtered_KG[k]
        cumulative_KGG = np.cumsum(self._kernels_KGG * filtered_KG[:, None, :], axis=-1)
        blocked_KG = cumulative_KGG[..., -1] == 0.0
        if blocked_KG.any():
            # Where the evidence leaves no way to what follows, it is the evidence that gives way.
            cumulative_KGG[blocked_KG] = np.cumsum(self._kernels_KGG[blocked_KG], axis=-1)
        cumulative_KGG /= cumulative_KGG[..., -1:]
        # Row r's distribution function is lifted by r, so that one sorted array serves all rows.
        cumulative_KGG += np.arange(len(GRID))[:, None]
        draws_KS = 1.0 - (1.0 - 1e-9) * rng.random((self.steps, size))  # never 0, which is the row before's end
        curves_KS = np.empty((self.steps + 1, size), dtype=np.intp)
        curves_KS[-1] = self._outcome
        for k in reversed(range(self.steps)):
            after = curves_KS[k + 1]
            position = cumulative_KGG[k].ravel().searchsorted(after + draws_KS[k])
            curves_KS[k] = position - after * len(GRID)
        return GRID[curves_KS].T


def step_uncertainty(ends_K: Sequence[int], log_probs_T: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    """How unsure the policy was of each step that it wrote, from the log-probs of its tokens.

    Returns:
        ``(forks_K, sure_K)``: the expected number of tokens that could have been others, ``sum_t (1 - p_t)``, and the
        probability ``p_k`` of the step as a whole. Without log-probs every step has one fork and ``p_k = 0``.
    """
    if log_probs_T is None:
        return np.ones(len(ends_K)), np.zeros(len(ends_K))
    log_probs = np.minimum(np.asarray(log_probs_T, dtype=float), 0.0)
    starts = [0, *ends_K[:-1]] if len(ends_K) else []
    forks = [float(-np.expm1(log_probs[a:b]).sum()) for a, b in zip(starts, ends_K, strict=True)]
    sure = [math.exp(float(log_probs[a:b].sum())) for a, b in zip(starts, ends_K, strict=True)]
    return np.array(forks), np.array(sure)


def _kernels(jump_K: np.ndarray, sure_K: np.ndarray) -> np.ndarray:
    """``p(V(s_k) | V(s_{k+1}))`` on the grid, rows ``V(s_{k+1})``. Shape ``(K, G, G)``."""
    size, cell = len(GRID), GRID[1] - GRID[0]
    stay = (1 - _DRIFT) * np.eye(size) + _DRIFT / 2 * (np.eye(size, k=1) + np.eye(size, k=-1))
    stay /= stay.sum(axis=1, keepdims=True)
    # Drift is a way of not being as valuable either, so it is bounded too: a sure step neither jumps nor drifts.
    bounded_K = np.clip((1.0 - sure_K) / cell, 0.0, 1.0)[:, None, None]
    stay_KGG = bounded_K * stay + (1 - bounded_K) * np.eye(size)
    # U anything: p V' + (1 - p) U is uniform on an interval, spread over the grid's cells by its overlap with each.
    low_KG = sure_K[:, None] * GRID
    high_KG = low_KG + np.maximum(1.0 - sure_K, 1e-9)[:, None]
    overlap = np.minimum(high_KG[..., None], _EDGES[1:]) - np.maximum(low_KG[..., None], _EDGES[:-1])
    anything_KGG = np.clip(overlap, 0.0, None)
    anything_KGG[:, -1, -1] += 1e-12  # V' = 1 and p = 1: an interval without length, at the end of the last cell
    anything_KGG /= anything_KGG.sum(axis=-1, keepdims=True)
    # U nothing: p V', shared out between the two grid points next to it.
    nothing_KGG = np.clip(1.0 - np.abs(low_KG[..., None] - GRID) / cell, 0.0, None)
    jump_KGG = _ALL_OR_NOTHING * nothing_KGG + (1 - _ALL_OR_NOTHING) * anything_KGG
    return (1 - jump_K)[:, None, None] * stay_KGG + jump_K[:, None, None] * jump_KGG
