"""What benchmarks report, and how sure it is: avg@k, pass@k, maj@k, intervals over problems, paired tests.

numpy only. ``_P`` is a problem, ``_N`` a sample of it, ``_S`` a statistic, ``_B`` a resample. Problems are the unit
throughout: samples of one problem are no independent evidence about a benchmark, so intervals and tests resample
problems with all their samples (a cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.values import wilson_interval

DRAWS = 10_000
#: Largest number of differences whose sign flips are enumerated.
EXACT = 14
#: Values this near to 0 or 1 count as such: pass@k hardly ever is 1 exactly.
_END = 0.005
#: Numbers held at a time while resampling.
_CHUNK = 4_000_000


def avg_at_k(accuracy_PN: np.ndarray) -> np.ndarray:
    """``(P,)`` mean accuracy of each problem's samples: an unbiased estimate of pass@1, whatever k."""
    return np.asarray(accuracy_PN, dtype=float).mean(axis=1)


def pass_at_k(right_P: np.ndarray, n: int, k: int) -> np.ndarray:
    """``(P,)`` probability that at least one of ``k`` samples is right, without bias.

    ``1 - C(n - c, k) / C(n, k)``, as the product of ``1 - k / i`` over ``i = n - c + 1 .. n``, which neither overflows
    nor cancels (Chen et al. 2021, arXiv 2107.03374, section 2.1).

    Args:
        right_P: right samples ``c`` of each problem.
        n: samples of each problem.
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
    # The product runs over the last c factors; one that is 0 or less means that no k samples can all be wrong.
    factors_PN = np.where(i_N > (n - right_P)[:, None], np.maximum(1 - k / i_N, 0.0), 1.0)
    return 1 - factors_PN.prod(axis=1)


def maj_at_k(votes_PN: np.ndarray, accuracy_PN: np.ndarray, k: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """``(P,)`` expected accuracy of the answer that most of ``k`` samples give (Wang et al. 2023, arXiv 2203.11171).

    Answers that tie for the most votes share: their accuracies are averaged, the expectation of breaking the tie by
    lot. An answer's accuracy is the mean over the problem's samples that give it. With ``k`` below the number of
    samples it is averaged over ``draws`` random subsets of ``k``, seeded; with all of them it is exact.

    Args:
        votes_PN: integers, equal where two samples of a problem give the same answer; -1 for none, which is no vote.
            A problem without a vote counts 0.
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


def _resampled_means(values_PS: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """``(B, S)`` means over resampled problems, the same resample for all statistics."""
    count, width = values_PS.shape
    means = []
    for size in _chunks(draws, count * width):
        means.append(values_PS[rng.integers(count, size=(size, count))].mean(axis=1))
    return np.concatenate(means)


def _chunks(draws: int, width: int) -> Iterator[int]:
    size = max(1, _CHUNK // max(width, 1))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def bootstrap_interval(
    values_PS: np.ndarray, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of each column's mean over problems: the percentile bootstrap (Efron & Tibshirani 1993, chapter 13).

    It covers the choice of problems and the chance in their samples together. Two limits: with few problems it is
    somewhat too narrow (at 30, about sqrt(29/30) of the width, and skew is not corrected), and where all problems have
    values of 0, or all of 1, it has no width, so that Wilson's interval for as many trials is given instead.

    Args:
        values_PS: ``(P, S)`` values in [0, 1], or ``(P,)``.
        draws: resamples.
        seed: the same data and seed give the same interval.
        level: probability.

    Returns:
        Lower and upper ends, ``(S,)`` each.
    """
    values_PS = np.asarray(values_PS, dtype=float)
    values_PS = values_PS[:, None] if values_PS.ndim == 1 else values_PS
    means_BS = _resampled_means(values_PS, draws, np.random.default_rng(seed))
    low_S, high_S = np.quantile(means_BS, [(1 - level) / 2, (1 + level) / 2], axis=0)
    for s, column in enumerate(values_PS.T):
        if (column <= _END).all() or (column >= 1 - _END).all():
            low_S[s], high_S[s] = wilson_interval(column.mean(), len(column))
    return low_S, high_S


@dataclass(frozen=True)
class Paired:
    """Two models on the same problems.

    Attributes:
        a, b: their means; over several benchmarks the mean of the benchmarks' means.
        difference: ``b - a``.
        low, high: 95 % interval of the difference.
        p: two-sided p-value of no difference.
        problems: pairs.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    problems: int


def paired(pairs: Sequence[tuple[np.ndarray, np.ndarray]], draws: int = DRAWS, seed: int = 0) -> Paired:
    """Compare two models, problem by problem; ``pairs`` has one ``(a_P, b_P)`` for each benchmark.

    The interval is the paired bootstrap's: problems are resampled within each benchmark, both models on the same ones.
    The p-value is :func:`sign_flip_p`'s. Over several benchmarks each has the same weight (the macro average).

    Raises:
        ValueError: nothing to compare, or lengths that differ.
    """
    if not pairs or any(len(a_P) != len(b_P) or not len(a_P) for a_P, b_P in pairs):
        raise ValueError("paired comparison: needs the same problems, at least one, of both models")
    rng = np.random.default_rng(seed)
    differences = [np.asarray(b_P, dtype=float) - np.asarray(a_P, dtype=float) for a_P, b_P in pairs]
    means_B = np.mean([_resampled_means(d_P[:, None], draws, rng)[:, 0] for d_P in differences], axis=0)
    low, high = np.quantile(means_B, [0.025, 0.975])
    weighted = np.concatenate([d_P / (len(d_P) * len(pairs)) for d_P in differences])
    a, b = (float(np.mean([np.mean(pair[side]) for pair in pairs])) for side in (0, 1))
    p = sign_flip_p(weighted, draws, seed)
    return Paired(a, b, float(weighted.sum()), float(low), float(high), p, len(weighted))


def sign_flip_p(difference_P: np.ndarray, draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p-value of the sum of differences under the null that each could as well have the other sign.

    If the models are exchangeable on every problem, so are a pair's two values, and a difference keeps its size and has
    a random sign (Fisher 1935; Good 2005, *Permutation, Parametric and Bootstrap Tests of Hypotheses*). p is the share
    of sign patterns whose absolute sum reaches the observed one: all ``2 ** P`` of them up to :data:`EXACT` differences
    that are not 0, beyond that ``(1 + reached) / (1 + draws)`` of random ones, which is valid where ``reached / draws``
    is not (Phipson & Smyth 2010, arXiv 1603.05766).
    """
    difference_P = np.asarray(difference_P, dtype=float)
    difference_P = difference_P[difference_P != 0]
    count = len(difference_P)
    # Sums of the same numbers in another order differ in their last digits.
    observed = abs(difference_P.sum()) - 1e-9 * np.abs(difference_P).sum()
    if count <= EXACT:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((2 * patterns - 1) @ difference_P) >= observed).mean())
    rng, reached = np.random.default_rng(seed), 0
    for size in _chunks(draws, count):
        signs = 2.0 * rng.integers(0, 2, size=(size, count), dtype=np.int8) - 1.0
        reached += int((np.abs(signs @ difference_P) >= observed).sum())
    return (1 + reached) / (1 + draws)
