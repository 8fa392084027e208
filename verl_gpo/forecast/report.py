"""What a forecast says: a row for each method, a table of at most 100 columns, and a recommendation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..statistics import bootstrap_interval, paired, wilson_interval
from .groups import Drawn
from .methods import BASE, Method
from .signal import Interval, agreement_interval, alignment, cosine_at, needed_interval, ratio_interval

#: From this cosine with the base's gradient on, a method counts as one that climbs the same hill.
ALIGNED = 0.8
#: From this cosine on, a mini-batch has as much signal as noise.
ENOUGH = 0.5


@dataclass(frozen=True)
class Line:
    """One method of a forecast.

    Attributes:
        name: the method.
        rollouts: of a prompt.
        groups: number of prompts that were sampled.
        tokens, rows, seconds: of a prompt, means; seconds of the wall clock while others were sampled beside it.
        mixed: share of the groups of compared rollouts whose rewards differ.
        cosine: of two independent batches of ``batch_tokens``.
        batch_tokens: tokens of a batch, mean.
        needed: tokens of a batch for a cosine of 0.5.
        ratio: ``needed`` over that of the base.
        aligned: cosine of its expected gradient with that of the base.
        mini_batch: cosine of two independent mini-batches of the user's number of prompts.
        gain: success after the step minus that before it; None without a step.
        against_base: success after the step minus that after the base's step; None without.
    """

    name: str
    rollouts: int
    groups: int
    tokens: float
    rows: float
    seconds: float
    mixed: Interval
    cosine: Interval
    batch_tokens: float
    needed: Interval
    ratio: Interval
    aligned: float
    mini_batch: float
    gain: Interval | None = None
    against_base: Interval | None = None


def lines(
    methods: Sequence[Method],
    drawn: Sequence[Drawn],
    products: np.ndarray,
    seconds: Mapping[str, float],
    mini_batch: int,
    successes: Mapping[str, np.ndarray],
) -> list[Line]:
    """The rows.

    Args:
        methods: the base is the first.
        drawn: all groups.
        products: inner products of the gradients, methods in order and batches in order within each. Shape ``(methods x
            batches, methods x batches)``.
        seconds: of the sampling, by method.
        mini_batch: prompts of an optimizer step.
        successes: mean reward of each prompt after the step, by method, and of ``""`` before it; empty without.
    """
    batches = len(products) // len(methods)
    blocks = {one.name: slice(place * batches, (place + 1) * batches) for place, one in enumerate(methods)}
    base_BB = products[blocks[BASE], blocks[BASE]]
    base_tokens = _tokens(drawn, BASE) / batches
    found = []
    for one in methods:
        mine = [group for group in drawn if group.method == one.name]
        own_BB, total = products[blocks[one.name], blocks[one.name]], _tokens(drawn, one.name)
        needed = needed_interval(own_BB, total / batches)
        tokens = total / len(mine)
        gain = against = None
        if successes:
            gain = _difference(successes[""], successes[one.name])
            against = None if one.name == BASE else _difference(successes[BASE], successes[one.name])
        found.append(
            Line(
                one.name,
                one.rollouts,
                len(mine),
                tokens,
                sum(group.rows for group in mine) / len(mine),
                seconds.get(one.name, math.nan) / len(mine),
                _share([mixed for group in mine for mixed in group.mixed]),
                agreement_interval(own_BB),
                total / batches,
                needed,
                ratio_interval(own_BB, base_BB, total / batches, base_tokens),
                alignment(products[blocks[one.name], blocks[BASE]], own_BB, base_BB),
                cosine_at(needed.value, mini_batch * tokens),
                gain,
                against,
            )
        )
    return found


def _tokens(drawn: Sequence[Drawn], name: str) -> int:
    return sum(group.tokens for group in drawn if group.method == name)


def _share(flags: Sequence[bool]) -> Interval:
    share = sum(flags) / len(flags) if flags else math.nan
    return Interval(share, *(wilson_interval(share, len(flags)) if flags else (0.0, 1.0)))


def _difference(before_P: np.ndarray, after_P: np.ndarray) -> Interval:
    known_P = ~(np.isnan(before_P) | np.isnan(after_P))
    if not known_P.any():
        return Interval(math.nan, -math.inf, math.inf)
    found = paired([(before_P[known_P], after_P[known_P])], draws=2_000)
    return Interval(found.difference, found.low, found.high)


def start_of(success_P: np.ndarray) -> Interval:
    """Mean reward before any step, over prompts."""
    known_P = success_P[~np.isnan(success_P)]
    if not len(known_P):
        return Interval(math.nan, 0.0, 1.0)
    (low,), (high,) = bootstrap_interval(known_P, draws=2_000)
    return Interval(float(known_P.mean()), float(low), float(high))


def recommend(found: Sequence[Line], mini_batch: int) -> str:
    """What to do: half the mini-batch where it has signal enough; otherwise the method that needs fewer tokens, if any.

    Another method than the base is recommended only where it surely needs fewer tokens, its gradient points where the
    base's does, and its step is not surely the worse one.
    """
    base = next(line for line in found if line.name == BASE)
    if math.isnan(base.cosine.value):
        return "No group of GRPO had two outcomes: nothing can be compared. Take easier or harder prompts."
    better = [
        line
        for line in found
        if line.ratio.high < 1
        and line.aligned >= ALIGNED
        and not (line.against_base is not None and line.against_base.high < 0)
    ]
    best = min(better, key=lambda line: line.ratio.value, default=None)
    said = best and (
        f"{best.name} needs {best.ratio.value:.2f} [{best.ratio.low:.2f}, {best.ratio.high:.2f}] of the tokens of GRPO "
        "for the same signal."
    )
    if base.mini_batch >= ENOUGH:
        first = (
            f"Plain GRPO, half the mini-batch: two mini-batches of {mini_batch} prompts agree with a cosine of "
            f"{base.mini_batch:.2f}, so signal is not what the training lacks. Twice the optimizer steps come before "
            "any method that makes gradients less noisy."
        )
        return f"{first} Of those methods, {said}" if said else first
    noisy = f"The gradients of a mini-batch are noisy: a cosine of {base.mini_batch:.2f}."
    return f"{best.name}: {said} {noisy}" if said else f"Plain GRPO: no method surely needs fewer tokens. {noisy}"


def table(found: Sequence[Line], console: Console) -> None:
    """Print the rows."""
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    view.add_column("method", no_wrap=True)
    for column in ("mixed", "tokens", "sec", "cosine [95 %]", "needed", "x grpo [95 %]", "align", "points"):
        view.add_column(column, justify="right", no_wrap=True)
    for line in found:
        view.add_row(
            line.name,
            _text(line.mixed.value, ".2f"),
            _short(line.tokens),
            _text(line.seconds, ".3g"),
            _interval(line.cosine),
            _short(line.needed.value),
            "1" if line.name == BASE else _interval(line.ratio),
            _text(line.aligned, ".2f"),
            "" if line.gain is None else f"{100 * line.gain.value:+.1f}±{_half(line.gain):.1f}",
        )
    console.print(view)


def _half(found: Interval) -> float:
    return 50 * (found.high - found.low)


def _text(value: float, form: str) -> str:
    return "-" if math.isnan(value) else "inf" if math.isinf(value) else f"{value:{form}}"


def _interval(found: Interval) -> str:
    value, low, high = (
        ">99" if 99 < one < math.inf else _text(one, ".2f") for one in (found.value, found.low, found.high)
    )
    return f"{value} [{low}, {high}]"


def _short(tokens: float) -> str:
    if math.isnan(tokens) or math.isinf(tokens):
        return _text(tokens, ".0f")
    return f"{tokens:,.0f}" if tokens < 1e4 else f"{tokens / 1e3:,.0f}k"


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(path: Path, about: Mapping[str, Any], found: Sequence[Line], advice: str) -> None:
    """``forecast.json``: what was asked, the rows, and the recommendation."""
    record = {**about, "methods": [asdict(line) for line in found], "recommendation": advice}
    path.write_text(json.dumps(_finite(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")
