"""Signal and noise of gradients, from the inner products of the gradients of independent batches.

The gradient ``g_i`` of a batch is the method's expected gradient ``G`` and noise of its own. So for two batches
``E <g_i, g_j> = |G|^2``, and ``E |g_i|^2 = |G|^2 + N``. The ratio ``c`` of the two is the cosine of two batches.
A batch that is ``x`` times as large has ``1 / x`` of the noise, which gives the tokens for any other cosine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics import student_quantile


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval; ends are infinite where the batches say nothing."""

    value: float
    low: float
    high: float


def agreement(products_BB: np.ndarray) -> float:
    """Cosine ``c`` of two independent batches of a method: mean product of two batches over the mean square of one."""
    batches = len(products_BB)
    square = float(np.trace(products_BB)) / batches
    if batches < 2 or square <= 0:
        return math.nan
    between = (float(products_BB.sum()) - batches * square) / (batches * (batches - 1))
    return min(between / square, 1.0)


def tokens_needed(cosine: float, tokens: float, wanted: float = 0.5) -> float:
    """Tokens of a batch whose cosine with another is ``wanted``; infinite where there is no agreement.

    Args:
        cosine: of batches of ``tokens``.
        tokens: their size.
        wanted: between 0 and 1; at 0.5 a batch is as much signal as noise.
    """
    if not cosine > 0:
        return math.inf
    return tokens * (1 / cosine - 1) * wanted / (1 - wanted)


def cosine_at(needed: float, tokens: float) -> float:
    """The reverse of :func:`tokens_needed`: the cosine of batches of ``tokens``, given those for a cosine of 0.5."""
    return 0.0 if math.isinf(needed) else 1 / (1 + needed / tokens) if needed else 1.0


def _spread(values: Sequence[float], batches: int) -> float:
    """Standard error by the jackknife."""
    return math.sqrt((batches - 1) * float(np.var(values)))


def _without(products_BB: np.ndarray, batch: int) -> np.ndarray:
    kept = np.arange(len(products_BB)) != batch
    return products_BB[np.ix_(kept, kept)]


def agreement_interval(products_BB: np.ndarray) -> Interval:
    """:func:`agreement` with an interval: the jackknife over batches, Student's t."""
    batches, value = len(products_BB), agreement(products_BB)
    if batches < 3 or math.isnan(value):
        return Interval(value, -1.0, 1.0)
    half = student_quantile(batches - 1) * _spread(
        [agreement(_without(products_BB, b)) for b in range(batches)], batches
    )
    return Interval(value, max(value - half, -1.0), min(value + half, 1.0))


def needed_interval(products_BB: np.ndarray, tokens: float) -> Interval:
    """:func:`tokens_needed` with the interval of the cosine."""
    found = agreement_interval(products_BB)
    ends = (tokens_needed(one, tokens) for one in (found.value, found.high, found.low))
    return Interval(*ends)


def ratio_interval(ours_BB: np.ndarray, theirs_BB: np.ndarray, our_tokens: float, their_tokens: float) -> Interval:
    """Tokens needed by one method over those of another, whose batches have the same prompts, number by number.

    Batch ``i`` is left out of both, so what the prompts have in common cancels. The interval is of the logarithm.

    Returns:
        NaN where the other method's batches do not agree at all: then there is nothing to compare with.
    """

    def ratio(ours: np.ndarray, theirs: np.ndarray) -> float:
        above, below = (
            tokens_needed(agreement(products), tokens)
            for products, tokens in ((ours, our_tokens), (theirs, their_tokens))
        )
        if math.isinf(below):
            return math.nan
        return above / below if below else math.inf if above else 1.0

    batches, value = len(ours_BB), ratio(ours_BB, theirs_BB)
    left = [ratio(_without(ours_BB, b), _without(theirs_BB, b)) for b in range(batches)] if batches > 2 else []
    if not left or not all(0 < one < math.inf for one in (value, *left)):
        return Interval(value, 0.0, math.inf)
    half = student_quantile(batches - 1) * _spread(np.log(left).tolist(), batches)
    return Interval(value, value * math.exp(-half), value * math.exp(half))


def alignment(cross_BB: np.ndarray, ours_BB: np.ndarray, theirs_BB: np.ndarray) -> float:
    """Cosine of the expected gradients of two methods: whether a method's signal points where the other's does.

    Batches of the same number share prompts, so only products of different numbers are used, in all three.

    Args:
        cross_BB: products of our batches with theirs.
        ours_BB, theirs_BB: products of each with themselves.

    Returns:
        NaN where one of them has no signal.
    """

    def between(products_BB: np.ndarray) -> float:
        batches = len(products_BB)
        return (float(products_BB.sum()) - float(np.trace(products_BB))) / (batches * (batches - 1))

    ours, theirs = between(ours_BB), between(theirs_BB)
    if ours <= 0 or theirs <= 0:
        return math.nan
    return max(min(between(cross_BB) / math.sqrt(ours * theirs), 1.0), -1.0)
