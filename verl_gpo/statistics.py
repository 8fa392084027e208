"""Intervals and tests, in one place: of a success rate, over problems, over seeds.

Suffixes: ``_P`` is a problem, ``_S`` a statistic, ``_B`` a resample. Problems are the unit of a benchmark: samples of
one problem are no independent evidence, so intervals and tests resample problems with all their samples (a cluster
bootstrap). Seeds are the unit of a comparison of trainings: runs of one seed share their data.

This module imports nothing else of the package; ``core`` may use it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
#: Largest number of differences whose sign flips are enumerated.
EXACT = 14
#: Values this near to 0 or 1 count as such: pass@k hardly ever is 1 exactly.
_END = 0.005
#: Numbers held at a time while resampling.
_CHUNK = 4_000_000


def wilson_interval(share: float, count: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for a success rate, observed as ``share`` of ``count`` trials.

    Args:
        share: successes over trials, in [0, 1].
        count: trials, at least 1.
        z: quantile of the normal distribution; the default gives 95 %.
    """
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


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


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; a single seed has none."""

    mean: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        spread = "" if self.high is None else f" ± {_figures(self.high - self.mean)}"
        return _figures(self.mean) + spread


def _figures(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: half the width of a 95 % interval, in standard errors."""
    from scipy.stats import t as student  # takes 0.5 s to import; the rollout worker does not need it

    return float(student.ppf(0.975, freedom))


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of at least one value, and Student's t interval of it where there are two or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean)
    half = student_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def geometric(ratios: Sequence[float]) -> Estimate | None:
    """Geometric mean of ratios, its interval from the t interval of their logarithms; None without any."""
    if not ratios:
        return None
    logs = estimate([math.log(ratio) for ratio in ratios])
    if logs.low is None or logs.high is None:
        return Estimate(math.exp(logs.mean))
    return Estimate(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high))


@dataclass(frozen=True)
class SeedPairs:
    """One method against another on the seeds that both have.

    Attributes:
        difference: mean over seeds, with its 95 % interval from two seeds on.
        p: of no difference, paired t-test; None with one seed, or where all seeds differ by the same amount.
        seeds: the number of seeds.
    """

    difference: Estimate
    p: float | None
    seeds: int


def paired_by_seed(differences: Sequence[float]) -> SeedPairs | None:
    """The paired t-test over seeds; None without a seed that both have."""
    from scipy.stats import t as student

    if not differences:
        return None
    found, count = estimate(differences), len(differences)
    if count < 2:
        return SeedPairs(found, None, count)
    spread = statistics.stdev(differences)
    if spread <= 1e-12:
        return SeedPairs(found, 1.0 if abs(found.mean) <= 1e-12 else None, count)
    p = 2 * float(student.sf(abs(found.mean) / (spread / math.sqrt(count)), count - 1))
    return SeedPairs(found, p, count)
