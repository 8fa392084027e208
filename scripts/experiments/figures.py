"""Figures: accuracy over generated tokens, and accuracy over the distance that the weights have moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scripts.experiments.distance import measured
from scripts.experiments.rows import Run, Seeds, by_cell
from scripts.experiments.settings import LEARNING, differences
from verl_gpo.report.figures import COLORS
from verl_gpo.statistics import estimate

_COLUMNS = 3
#: Largest number of methods in a panel. If there are more, the variants of one method get a panel of their own.
_READABLE = 10
_POINTS = 60
#: Number of the colour in the palette, line and marker. Methods that are compared often have very different colours.
_STYLES = {
    "grpo": (0, "-", "o"),
    "random": (5, "-", "s"),
    "gpo_paper": (1, "-", "D"),
    "gpo_fast": (2, "-", "^"),
    "lean": (3, "-", "v"),
    "oracle": (4, "-", "*"),
    "ppo": (0, ":", "P"),
    "gpo_paper optimizer=ppo": (1, ":", "X"),
}
_MARKERS = "phd<>"
_LINES = ("-.", ":", "--")
#: The methods in the figure of distances, which were run at several learning rates: name -> colour and marker.
_FAR = {
    "grpo": (COLORS[0], "o"),
    "grpo prompts=4 rollouts=4": (COLORS[4], "p"),
    "random": (COLORS[5], "s"),
    "lean": (COLORS[3], "v"),
}


def accuracy_over_tokens(runs: Sequence[Run], path: Path) -> bool:
    """Draw the accuracy of the runs of one grid over their tokens.

    Each method is a line, the mean over its seeds, with the 95 % t interval as a band if there are at least two. A line
    ends where the shortest run of its method ends, since the mean would jump when a seed drops out.

    Args:
        runs: of one grid.
        path: the PNG file.

    Returns:
        Whether there was anything to draw; otherwise no file is written.
    """
    found = by_cell([run for run in runs if len(run.points) > 1])
    if not found:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = panels_of(found)
    names = list(dict.fromkeys(_first(seeds).name_at_any_rate for seeds in found.values()))
    columns = min(_COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    size = (1.2 + 4 * max(columns, 2), 0.8 + 3.2 * rows)
    figure, panels = pyplot.subplots(rows, columns, figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axes in panels.flat[len(drawn) :]:
        axes.set_visible(False)
    for axes, (title, of_methods) in zip(panels.flat, sorted(drawn.items()), strict=False):
        for name in names:
            if name in of_methods:
                _draw(axes, of_methods[name], name, names)
        counts = sorted(map(len, of_methods.values()))
        title += f", {' to '.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))} seeds"
        axes.set(title=title, xlabel="generated tokens, thousands", ylim=(0, 1.02))
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    handles = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
    shown = [name for name in names if name in handles]
    # Below a single panel there is not enough room for the names of many methods.
    where = "outside lower center" if columns > 1 else "outside right center"
    figure.legend([handles[name] for name in shown], shown, frameon=False, loc=where, ncols=(1, 3, 5)[columns - 1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True


def panels_of(found: Mapping[tuple[str, str], Seeds]) -> dict[str, dict[str, Seeds]]:
    """The panels of a figure: title -> name of a method -> its runs by seed.

    Methods with the same regime and learning rate share a panel, unless it would hold too many lines.

    Args:
        found: runs by regime and name.
    """
    drawn: dict[str, dict[str, Seeds]] = {}
    for (regime, _), seeds in found.items():
        run = _first(seeds)
        learning = replace(run.base, **{name: getattr(run.settings, name) for name in LEARNING})
        rate = (f"{name}={value}" for name, value in differences(learning, run.base).items())
        drawn.setdefault(", ".join((regime, *rate)), {})[run.name_at_any_rate] = seeds
    for title, of_methods in list(drawn.items()):
        varied = [_first(seeds).method for name, seeds in of_methods.items() if name != _first(seeds).method]
        if len(of_methods) > _READABLE and varied:
            base = max(dict.fromkeys(varied), key=varied.count)
            apart = {name: seeds for name, seeds in of_methods.items() if _first(seeds).method == base}
            rest = {name: seeds for name, seeds in of_methods.items() if name not in apart or name == base}
            drawn |= {title: rest, f"{title}, {base}": apart}
    return drawn


def _first(seeds: Seeds) -> Run:
    return next(iter(seeds.values()))


def _draw(axes, seeds: Seeds, name: str, names: Sequence[str]) -> None:
    color, line, marker = _style(name, names)
    first = max(run.points[0].tokens for run in seeds.values())
    last = min(run.points[-1].tokens for run in seeds.values())
    if last <= first:
        return
    tokens = np.linspace(first, last, _POINTS)
    curves = [
        np.interp(tokens, [point.tokens for point in run.points], [point.accuracy for point in run.points])
        for run in seeds.values()
    ]
    at = [estimate(values) for values in zip(*curves, strict=True)]
    # Markers are at the evaluations, so that their number can be seen.
    (one, *_) = seeds.values()
    marks = sorted({int(np.abs(tokens - point.tokens).argmin()) for point in one.points})
    mean = [found.mean for found in at]
    axes.plot(tokens / 1e3, mean, line, color=color, lw=1.8, marker=marker, ms=4, markevery=marks, label=name)
    if len(seeds) > 1:
        band = np.clip([(found.low, found.high) for found in at], 0, 1)
        axes.fill_between(tokens / 1e3, band[:, 0], band[:, 1], color=color, alpha=0.15, lw=0)


def _style(name: str, names: Sequence[str]) -> tuple[str, str, str]:
    """Colour, line and marker of a method. Those of `_STYLES` look the same in every figure.

    A variant such as ``gpo_fast n_mc=8`` has the colour of its method. The others get a style by their place in
    ``names``.
    """
    if name in _STYLES:
        color, line, marker = _STYLES[name]
        return COLORS[color], line, marker
    place = [other for other in names if other not in _STYLES].index(name)
    base = name.partition(" ")[0]
    color = _STYLES[base][0] if base in _STYLES else place % len(COLORS)
    return COLORS[color], _LINES[place % len(_LINES)], _MARKERS[place % len(_MARKERS)]


def accuracy_over_distance(runs: Sequence[Run], path: Path) -> bool:
    """Draw the accuracy over the distance of the weights: a line for each run of the methods in `_FAR`, at any rate.

    Args:
        runs: of one grid.
        path: the PNG file.

    Returns:
        Whether there was anything to draw; otherwise no file is written.
    """
    shown: dict[str, dict[str, list[Run]]] = {}
    for (regime, _), seeds in by_cell(measured(runs)).items():
        if (name := _first(seeds).name_at_any_rate) in _FAR:
            shown.setdefault(regime, {}).setdefault(name, []).extend(seeds.values())
    if not shown:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (5.2 * len(shown), 4.2)
    figure, panels = pyplot.subplots(1, len(shown), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axes, (regime, by_name) in zip(panels.flat, sorted(shown.items()), strict=True):
        for name, (color, marker) in _FAR.items():
            for number, run in enumerate(by_name.get(name, ())):
                moved, accuracy = zip(*((point.distance, point.accuracy) for point in run.points), strict=True)
                label = None if number else name
                axes.plot(moved, accuracy, color=color, lw=0.8, marker=marker, ms=3.5, alpha=0.7, label=label)
        # The weights of a run that has collapsed move on; the axis ends where the last good model is.
        reached = [point for of_method in by_name.values() for run in of_method for point in run.points]
        far = max((point.distance for point in reached if point.accuracy > 0.5), default=1.0)
        axes.set(title=regime, xlabel="distance of the weights from the start", ylim=(0, 1.02), xlim=(0, 1.05 * far))
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("accuracy")
    panels[0, -1].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
