"""The belief about all state values of a response, given the few that were sampled.

Values of neighbouring states are not independent: most steps do not change the value. The belief is a Markov chain over
``V(s_0) .. V(s_K)`` on a grid, so a continuation drawn at one state also says something about its neighbours, and exact
samples of whole curves take milliseconds. These samples give the probability that a step is the best one (its
confidence) and, for the adaptive search, the state to sample next.

The chain runs backwards from the observed outcome ``V(s_K) = R``. Let ``p_k`` be the probability that the policy gave
to step ``k`` as a whole. Since ``V(s_k)`` averages over all that the policy could have written,

    ``V(s_k) = p_k V(s_{k+1}) + (1 - p_k) U_k``,  so  ``|A_k| <= (1 - p_k) (R_max - R_min)``,

with ``U_k`` the value of the other ways to write the step. The prior has two cases. Either the other ways are worth as
much as the one written, and the value stays the same except for a small drift. Or the step is a jump: then ``U_k`` is 0
(every other way fails) or uniform between 0 and 1. So the rollout's own log-probs, which cost nothing, bound each
advantage, and a step that the policy was sure of cannot be critical. The prior probability of a jump is distributed
over the steps in proportion to their number of uncertain tokens, ``sum_t (1 - p_t)``. ``scripts/bench_search.py``
measures whether confidences from this prior are calibrated.

An answer of the environment is a link of its own, between the policy's step and the state behind it. The policy's
log-probs say nothing about it, so nothing bounds what it changes; and what it changes is not the step's advantage.

A step that the policy was almost sure of is no link of the chain: the states before and after it count as one state
with the evidence of both. This makes the chain much shorter when most steps are like that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .turns import answered

#: Values that a state can have, as shares of the reward's range.
GRID = np.linspace(0.0, 1.0, 33)
_EDGES = np.concatenate([[0.0], (GRID[1:] + GRID[:-1]) / 2, [1.0]])
#: No grid value is exactly 0 or 1, so that a single unexpected reward cannot make a curve impossible.
_LOG_SUCCESS, _LOG_FAILURE = np.log(np.clip(GRID, 0.004, 1.0)), np.log(np.clip(1.0 - GRID, 0.004, 1.0))

#: Number of jumps that a response is expected to have, whatever its length, and the highest share of its steps.
EXPECTED_JUMPS, _MOST_JUMPS = 2.75, 0.75
#: Highest prior probability of a step to be a jump.
_MOST_PROBABLE_JUMP = 0.9
#: Share of the jumps for which every other way to write the step fails (``U_k = 0``).
_ALL_OR_NOTHING = 0.3
#: Probability that a value moves to a neighbouring grid point over a step without a jump.
_DRIFT = 0.1
#: Share of the expected jumps that is distributed evenly, in case the policy is sure of a step that is wrong.
_EVEN_SHARE = 0.1
#: Prior probability that an answer of the environment changes the value. Most environments are deterministic, and what
#: such an environment will answer is part of the value before it has answered.
_ANSWER_JUMP = 0.1
#: A step that cannot change the value by more than this counts as one that does not: 1/30 of the width of a grid cell.
_LEAST_MOVE = 0.001

#: Position in a flattened matrix over the grid -> its column.
_COLUMN = np.tile(np.arange(len(GRID)), len(GRID))

_DRIFTING = (1 - _DRIFT) * np.eye(len(GRID)) + _DRIFT / 2 * (np.eye(len(GRID), k=1) + np.eye(len(GRID), k=-1))
_DRIFTING /= _DRIFTING.sum(axis=1, keepdims=True)


class ValueCurve:
    """The belief about the values of one response.

    Args:
        ends_K: exclusive token positions of the steps' ends.
        outcome: ``V(s_K)`` as a share of the reward's range, in [0, 1].
        log_probs_T: log-probs of the response's tokens under the distribution they were sampled from, or None: then
            no advantage is bounded, and all steps are equally likely to be jumps.
        written_T: which tokens the policy wrote, and not its environment (:mod:`verl_gpo.core.turns`); None for all.

    Attributes:
        moves_K: the steps that can change the value: the links of the chain. The others do not change it.
        differs_K: the steps behind which the value can differ, by the step or by the environment's answer to it.
    """

    def __init__(
        self,
        ends_K: Sequence[int],
        outcome: float,
        log_probs_T: Sequence[float] | None = None,
        written_T: Sequence[int] | None = None,
    ):
        steps = len(ends_K)
        self._outcome = int(np.argmin(np.abs(GRID - outcome)))
        forks_K, sure_K = step_uncertainty(ends_K, log_probs_T, written_T)
        total = float(forks_K.sum())
        share_K = forks_K / total if total > 0 else np.full(steps, 1.0 / max(steps, 1))
        jump_K = jump_probabilities((1 - _EVEN_SHARE) * share_K + _EVEN_SHARE / max(steps, 1))
        self.moves_K = 1.0 - sure_K > _LEAST_MOVE
        answered_K = np.array(answered(ends_K, written_T), dtype=bool)
        self.differs_K = self.moves_K | answered_K
        # Two places for each step, in the order of the response: the step's own link, and that of the answer to it.
        is_link = np.stack([self.moves_K, answered_K], axis=1).ravel()
        jump = np.stack([jump_K, np.full(steps, _ANSWER_JUMP)], axis=1).ravel()
        sure = np.stack([sure_K, np.zeros(steps)], axis=1).ravel()
        self._kernels_LGG = _kernels(jump[is_link], sure[is_link])
        links_before = np.concatenate([[0], is_link.cumsum()])
        self._link_K1 = links_before[::2]  # the links before each state
        self._behind_K = links_before[1::2] if answered_K.any() else None  # the links before the answer to each step

    def sample(self, successes_K: np.ndarray, counts_K: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draw whole curves from the belief, exactly (forward filtering, backward sampling).

        Args:
            successes_K: rewards of the continuations from ``s_0 .. s_{K-1}``, as shares of the range, summed.
            counts_K: number of these continuations at each state.
            size: number of curves.
            rng: source of randomness.

        Returns:
            Shares of the reward's range. Shape ``(size, K + 1)``.
        """
        return self.sample_apart(successes_K, counts_K, size, rng)[0]

    def sample_apart(
        self, successes_K: np.ndarray, counts_K: np.ndarray, size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """:meth:`sample`, and how much of each difference of two states the environment made.

        Returns:
            The curves, shape ``(size, K + 1)``, and the environment's part of their differences, shape ``(size, K)``;
            None if there is no environment.
        """
        links = len(self._kernels_LGG)
        successes_L1 = np.bincount(self._link_K1[:-1], successes_K, links + 1)
        counts_L1 = np.bincount(self._link_K1[:-1], counts_K, links + 1)
        filtered_LG = np.empty((links, len(GRID)))
        message = np.ones(len(GRID))
        for k in range(links):
            if counts_L1[k]:
                # In logarithms, so that strong evidence against a value does not underflow to probability 0.
                here = np.log(np.maximum(message, 1e-300)) + successes_L1[k] * _LOG_SUCCESS
                here += (counts_L1[k] - successes_L1[k]) * _LOG_FAILURE
                message = np.exp(here - here.max())
            filtered_LG[k] = message
            message = self._kernels_LGG[k].dot(message)
        # In place, because the array of a long response is too large to allocate it again for each step.
        lifted_LGG = self._kernels_LGG * filtered_LG[:, None, :]
        lifted_LGG.cumsum(axis=-1, out=lifted_LGG)
        blocked_LG = lifted_LGG[..., -1] == 0.0
        if blocked_LG.any():
            # If the evidence excludes all values from which the next one can follow, the evidence is ignored here.
            lifted_LGG[blocked_LG] = self._kernels_LGG[blocked_LG].cumsum(axis=-1)
        lifted_LGG /= lifted_LGG[..., -1:].copy()
        # r is added to the distribution function of row r, so that all rows together are one sorted array.
        lifted_LGG += np.arange(len(GRID))[:, None]
        draws_LS = 1.0 - (1.0 - 1e-9) * rng.random((links, size))  # never 0, which would fall into the row before
        cells_L1S = np.empty((links + 1, size), dtype=np.intp)
        cells_L1S[-1] = after = np.full(size, self._outcome)
        for k in reversed(range(links)):
            cells_L1S[k] = after = _COLUMN[lifted_LGG[k].ravel().searchsorted(after + draws_LS[k])]
        values_L1S = GRID[cells_L1S]
        curves_K1S = values_L1S[self._link_K1]
        if self._behind_K is None:
            return curves_K1S.T, None
        return curves_K1S.T, (curves_K1S[1:] - values_L1S[self._behind_K]).T


def step_uncertainty(
    ends_K: Sequence[int], log_probs_T: Sequence[float] | None, written_T: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How unsure the policy was of each step that it wrote, from the log-probs of its tokens.

    Tokens of the environment, by ``written_T``, are never the policy's uncertainty.

    Returns:
        ``(forks_K, sure_K)``: the expected number of tokens that would be different in a new sample,
        ``sum_t (1 - p_t)``, and the probability ``p_k`` of the step as a whole. Without log-probs every step has
        ``forks = 1`` and ``p_k = 0``.
    """
    if log_probs_T is None or not len(ends_K):
        return np.ones(len(ends_K)), np.zeros(len(ends_K))
    log_probs = np.minimum(np.asarray(log_probs_T, dtype=float), 0.0)
    if written_T is not None:
        log_probs = np.where(written_T, log_probs, 0.0)
    starts_K = [0, *ends_K[:-1]]
    return -np.add.reduceat(np.expm1(log_probs), starts_K), np.exp(np.add.reduceat(log_probs, starts_K))


def jump_probabilities(share_K: np.ndarray) -> np.ndarray:
    """Prior probability of each step to be a jump.

    The number of jumps in a step is Poisson distributed, and a step with one or more of them is a jump. The total rate
    is such that, if it were distributed evenly, the expected number of steps with a jump would be as set above.

    Args:
        share_K: share of the total rate that each step has; sums to 1.
    """
    steps = len(share_K)
    fallen = -steps * np.log1p(-min(EXPECTED_JUMPS / steps, _MOST_JUMPS)) if steps else 0.0
    return np.minimum(1.0 - np.exp(-fallen * share_K), _MOST_PROBABLE_JUMP)


def _kernels(jump_L: np.ndarray, sure_L: np.ndarray) -> np.ndarray:
    """``p(V(s_k) | V(s_{k+1}))`` on the grid, rows ``V(s_{k+1})``, for steps that are not sure. Shape ``(L, G, G)``."""
    cells, cell = np.arange(len(GRID)), GRID[1] - GRID[0]
    stay_L, unsure_L = 1.0 - jump_L, 1.0 - sure_L
    # The bound on |A_k| holds for drift as well: a step that the policy was sure of neither jumps nor drifts.
    bounded_L = np.minimum(unsure_L / cell, 1.0)
    kernels_LGG = np.multiply.outer(stay_L * bounded_L, _DRIFTING)
    kernels_LGG[:, cells, cells] += (stay_L * (1.0 - bounded_L))[:, None]
    # U uniform: p V' + (1 - p) U is uniform on an interval; each grid cell gets the share that it overlaps with.
    low_LG = np.multiply.outer(sure_L, GRID)
    inside = np.maximum(_EDGES, low_LG[..., None])
    np.minimum(inside, (low_LG + unsure_L[:, None])[..., None], out=inside)
    overlaps_LGG = np.diff(inside, axis=-1)
    overlaps_LGG *= ((1 - _ALL_OR_NOTHING) * jump_L / unsure_L)[:, None, None]
    kernels_LGG += overlaps_LGG
    # U = 0: the value is p V', split between the two grid points next to it.
    above_LG = np.multiply.outer(sure_L, cells)
    below_LG = above_LG.astype(np.intp)
    above_LG -= below_LG
    nothing_L1, links_L1 = (_ALL_OR_NOTHING * jump_L)[:, None], np.arange(len(jump_L))[:, None]
    kernels_LGG[links_L1, cells, below_LG] += nothing_L1 * (1.0 - above_LG)
    kernels_LGG[links_L1, cells, below_LG + 1] += nothing_L1 * above_LG
    return kernels_LGG
