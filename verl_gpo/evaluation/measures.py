"""The measures that benchmarks report: avg@k, pass@k, maj@k.

Suffixes: ``_P`` is a problem, ``_N`` a sample of it, ``_B`` a random subset of ``_K`` samples, ``_A`` an answer.
Intervals and tests over problems are those of :mod:`verl_gpo.statistics`.
"""

from __future__ import annotations

import numpy as np


def avg_at_k(accuracy_PN: np.ndarray) -> np.ndarray:
    """Mean accuracy of each problem's samples, shape ``(P,)``: an unbiased estimate of pass@1 for every k."""
    return np.asarray(accuracy_PN, dtype=float).mean(axis=1)


def pass_at_k(right_P: np.ndarray, n: int, k: int) -> np.ndarray:
    """Unbiased estimate of the probability that at least one of ``k`` samples is right. Shape ``(P,)``.

    ``1 - C(n - c, k) / C(n, k)``, as the product of ``1 - k / i`` over ``i = n - c + 1 .. n``, which neither overflows
    nor cancels (Chen et al. 2021, arXiv 2107.03374, section 2.1).

    Args:
        right_P: number ``c`` of right samples of each problem.
        n: number of samples of each problem.
        k: from 1 to ``n``.

    Raises:
        ValueError: ``k`` or a count is out of range.
    """
    right_P = np.asarray(right_P)
    if not 1 <= k <= n:
        raise ValueError(f"k={k}: must be from 1 to the {n} samples of a problem")
    if right_P.size and not (right_P.min() >= 0 and right_P.max() <= n):
        raise ValueError(f"right samples must be from 0 to {n}")
    i_N = np.arange(1, n + 1)
    # The product runs over the last c factors; a factor of 0 or less means that no k samples can all be wrong.
    factors_PN = np.where(i_N > (n - right_P)[:, None], np.maximum(1 - k / i_N, 0.0), 1.0)
    return 1 - factors_PN.prod(axis=1)


def maj_at_k(votes_PN: np.ndarray, accuracy_PN: np.ndarray, k: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """``(P,)`` expected accuracy of the answer that most of ``k`` samples give (Wang et al. 2023, arXiv 2203.11171).

    If several answers have the most votes, their accuracies are averaged, which is the expectation of a random choice
    among them. An answer's accuracy is the mean over the problem's samples that give it. With ``k`` below the number of
    samples it is averaged over ``draws`` random subsets of ``k``, seeded; with all of them it is exact.

    Args:
        votes_PN: integers, equal if two samples of a problem give the same answer; -1 if a sample gives no answer. A
            problem without any answer counts 0.
        accuracy_PN: of the samples, in [0, 1].
        k: from 1 to N.

    Raises:
        ValueError: ``k`` is out of range.
    """
    votes_PN, accuracy_PN = np.asarray(votes_PN), np.asarray(accuracy_PN, dtype=float)
    n = votes_PN.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k={k}: must be from 1 to the {n} samples of a problem")
    rng = np.random.default_rng(seed)
    if k == n:
        subsets_BK = np.arange(n)[None]
    else:  # the first k of a random order
        subsets_BK = np.argsort(rng.random((draws, n)), axis=1)[:, :k]
    problems = zip(votes_PN, accuracy_PN, strict=True)
    return np.array([_majority(votes_N, accuracy_N, subsets_BK) for votes_N, accuracy_N in problems])


def _majority(votes_N: np.ndarray, accuracy_N: np.ndarray, subsets_BK: np.ndarray) -> float:
    answers = np.unique(votes_N[votes_N >= 0])
    if not answers.size:
        return 0.0
    given_NA = votes_N[:, None] == answers
    accuracy_A = (given_NA * accuracy_N[:, None]).sum(axis=0) / given_NA.sum(axis=0)
    count_BA = given_NA[subsets_BK].sum(axis=1)
    most_B = count_BA.max(axis=1)
    top_BA = (count_BA == most_B[:, None]) & (most_B > 0)[:, None]
    return float(((top_BA * accuracy_A).sum(axis=1) / np.maximum(top_BA.sum(axis=1), 1)).mean())
