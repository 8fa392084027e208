"""The picture of the summary: accuracy against generated tokens, and what the tokens were generated for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..traces.runlog import RunLog, generated_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that readers with any colour vision can tell apart (Okabe and Ito 2008).
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
#: What tokens are generated for: part of the metric's name, label, colour.
_KINDS = (
    ("root", "root rollouts", "#999999"),
    ("value", "Monte Carlo values", "#56B4E9"),
    ("reentry", "re-entry rollouts", "#D55E00"),
)


def draw(runs: Mapping[str, RunLog], path: str | Path) -> None:
    """Draw the runs into a PNG file.

    Args:
        runs: name -> metrics; the first runs get the strongest colours.
        path: the file.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for (name, log), color in zip(runs.items(), itertools.cycle(_COLORS), strict=False):
        _accuracy(left, name, log, color)
    left.set(xlabel="tokens generated, thousands", ylabel="accuracy", ylim=(0, 1.02))
    left.legend(loc="lower right", frameon=False)
    left.grid(alpha=0.3)
    _tokens(right, runs)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _accuracy(axes: Axes, name: str, log: RunLog, color: str) -> None:
    """Validation as points on a line; the training's root rollouts as a thin line of the same colour."""
    steps = sorted(log.steps)
    spent = itertools.accumulate(generated_tokens(log.steps[step]) / 1000 for step in steps)
    thousands = dict(zip(steps, spent, strict=True))
    for series, style, label in (
        (log.series("gpo/accuracy/root"), {"lw": 1, "alpha": 0.45}, None),
        (log.validation(), {"lw": 2, "marker": "o"}, f"{name}, validation"),
    ):
        axes.plot([thousands[step] for step in series], list(series.values()), color=color, label=label, **style)


def _tokens(axes: Axes, runs: Mapping[str, RunLog]) -> None:
    """A bar for each run, in parts by what the tokens were generated for."""
    below = [0.0] * len(runs)
    for kind, label, color in _KINDS:
        thousands = [log.total(f"gpo/tokens/{kind}") / 1000 for log in runs.values()]
        axes.bar(list(runs), thousands, bottom=below, color=color, label=label, width=0.5)
        below = [start + height for start, height in zip(below, thousands, strict=True)]
    axes.set(ylabel="tokens generated in all, thousands", ylim=(0, 1.35 * max(*below, 1e-3)))
    axes.legend(loc="upper right", frameon=False)
