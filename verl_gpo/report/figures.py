"""Figures that compare runs, as plotly's own JSON, and their table. A metric that no run has logged has no figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..statistics import Estimate, estimate
from ..traces.runlog import RunLog, generated_tokens
from .runs import RunGroup, cumulative, over_seeds

Figure = dict[str, Any]

#: Okabe and Ito's palette, which colour-blind people can tell apart, without its yellow and black.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

TOKENS = {
    "gpo/tokens/root": "root rollouts",
    "gpo/tokens/value": "Monte Carlo values",
    "gpo/tokens/reentry": "re-entry rollouts",
}
#: Phases of verl's trainer, one after the other; the rest of ``timing_s/step`` is shown as such.
SECONDS = {
    "timing_s/gen": "rollout, search and re-entry",
    "timing_s/reward": "reward",
    "timing_s/old_log_prob": "old log-probs",
    "timing_s/ref": "reference",
    "timing_s/values": "critic's values",
    "timing_s/adv": "advantages",
    "timing_s/update_critic": "critic's update",
    "timing_s/update_actor": "actor's update",
    "timing_s/update_weights": "weights to the rollout",
    "timing_s/save_checkpoint": "checkpoint",
}
PROMPT_SECONDS = {
    "gpo/seconds/rollout": "root rollouts",
    "gpo/seconds/value": "Monte Carlo values",
    "gpo/seconds/reentry": "re-entry rollouts",
}
#: Curves over training: title -> (metric -> (label, line style)), note.
CURVES: dict[str, tuple[dict[str, tuple[str, str]], str]] = {
    "Root and re-entry accuracy": (
        {"gpo/accuracy/root": ("root", "solid"), "gpo/accuracy/reentry": ("reentry", "dot")},
        "Training prompts. Re-entry rollouts start at a reset state: between runs, only roots are comparable.",
    ),
    "Position of the critical step": (
        {"gpo/critical/position": ("position", "solid")},
        "0: the first step of a response, 1: its last; average over the critical steps of a training step.",
    ),
    "Confidence and abstention": (
        {
            "gpo/critical/confidence": ("confidence", "solid"),
            "gpo/prompts/without_critical_step": ("abstained", "dot"),
        },
        "Average probability that the chosen step is the critical one; share of the searched prompts that have none.",
    ),
    "Prefix cache hits": (
        {"gpo/prefix_cache_hit_share": ("hits", "solid")},
        "Share of the prompt and prefix tokens of continuations that the engine found in its cache.",
    ),
}


def run_figures(groups: Sequence[RunGroup]) -> list[Figure]:
    """All figures that the runs have data for: ``{"title", "note", "data", "layout"}`` each."""
    figures = [
        _validation(groups, "tokens", "generated tokens", "All purposes: roots, values and re-entry."),
        _validation(groups, "seconds", "seconds of training steps", "Start-up and validation are left out."),
        _stacked(groups, "Tokens by purpose", TOKENS, "tokens", "Whole run, mean over seeds.", RunLog.total),
        _stacked(groups, "Seconds by phase", SECONDS, "seconds", "All training steps, mean over seeds.", RunLog.total),
        _stacked(
            groups,
            "Seconds of the average prompt",
            PROMPT_SECONDS,
            "seconds a training step",
            "Prompts overlap, so these add up to less or more than the rollout's phase.",
            _mean,
        ),
    ]
    figures += [_curves(groups, title, lines, note) for title, (lines, note) in CURVES.items()]
    figures.append(_fifths(groups))
    return [figure for figure in figures if figure["data"]]


def _mean(log: RunLog, name: str) -> float:
    series = log.series(name)
    return sum(series.values()) / len(series) if series else 0.0


def _color(number: int, alpha: float = 1.0) -> str:
    color = COLORS[number % len(COLORS)]
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _line(
    number: int, name: str, label: str, x: Sequence[float], points: Sequence[Estimate], dash: str, first: bool
) -> list[dict[str, Any]]:
    """A line, with the band of its intervals in the background."""
    shared = {"type": "scatter", "x": list(x), "legendgroup": name + label}
    bands = []
    if any(point.low is not None for point in points):
        edge = {**shared, "mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        ends = [(p.mean, p.mean) if p.low is None else (p.low, p.high) for p in points]
        bands = [
            {**edge, "y": [low for low, _ in ends]},
            {**edge, "y": [high for _, high in ends], "fill": "tonexty", "fillcolor": _color(number, 0.15)},
        ]
    mode = "lines+markers" if len(points) < 40 else "lines"
    line = {"color": _color(number), "dash": dash, "width": 2}
    y = [point.mean for point in points]
    return [*bands, {**shared, "y": y, "mode": mode, "name": label, "line": line, "showlegend": first}]


def _axes(x: str, y: str, unit_interval: bool = False) -> dict[str, Any]:
    vertical = {"title": {"text": y}, **({"range": [-0.02, 1.02]} if unit_interval else {"rangemode": "tozero"})}
    return {"xaxis": {"title": {"text": x}, "rangemode": "tozero"}, "yaxis": vertical}


def _validation(groups: Sequence[RunGroup], cost: str, label: str, note: str) -> Figure:
    data = []
    for number, group in enumerate(groups):
        accuracy = over_seeds(group, RunLog.validation)
        spent = over_seeds(group, lambda log: cumulative(log, cost))
        if accuracy and max(spent[step].mean for step in accuracy) > 0:  # without gpo/* metrics tokens are not known
            x = [spent[step].mean for step in accuracy]
            data += _line(number, group.name, group.name, x, list(accuracy.values()), "solid", True)
    seeds = ", ".join(f"{group.name}: {len(group.logs)}" for group in groups)
    note += f" Seeds: {seeds}." + (" Bands: 95 % t intervals." if any(len(g.logs) > 1 for g in groups) else "")
    title = f"Validation accuracy against {cost}"
    return {"title": title, "note": note, "data": data, "layout": _axes(label, "accuracy", True)}


def _stacked(
    groups: Sequence[RunGroup],
    title: str,
    parts: Mapping[str, str],
    unit: str,
    note: str,
    amount: Callable[[RunLog, str], float],
) -> Figure:
    rows = {
        label: [estimate([amount(log, key) for log in group.logs]).mean for group in groups]
        for key, label in parts.items()
    }
    if parts is SECONDS:
        steps = [estimate([log.total("timing_s/step") for log in group.logs]).mean for group in groups]
        known = [sum(column) for column in zip(*rows.values(), strict=True)]
        rows["the rest"] = [max(step - part, 0.0) for step, part in zip(steps, known, strict=True)]
    names = [group.name for group in groups]
    data = [
        {"type": "bar", "orientation": "h", "name": label, "x": row, "y": names}
        for label, row in rows.items()
        if any(row)
    ]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": unit}},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }
    return {"title": title, "note": note, "data": data, "layout": layout}


def _curves(groups: Sequence[RunGroup], title: str, lines: Mapping[str, tuple[str, str]], note: str) -> Figure:
    data = []
    for number, group in enumerate(groups):
        for key, (what, dash) in lines.items():
            points = over_seeds(group, lambda log, key=key: log.series(key))
            if points:
                label = group.name if len(lines) == 1 else f"{group.name}, {what}"
                data += _line(number, group.name, label, list(points), list(points.values()), dash, True)
    return {"title": title, "note": note, "data": data, "layout": _axes("training step", "", True)}


def _fifths(groups: Sequence[RunGroup]) -> Figure:
    names = [f"gpo/critical/fifth_{fifth}" for fifth in range(1, 6)]
    data = []
    for number, group in enumerate(groups):
        if any(log.series(names[0]) for log in group.logs):
            shares = [estimate([_mean(log, name) for log in group.logs]).mean for name in names]
            bar = {"type": "bar", "name": group.name, "x": list(range(1, 6)), "y": shares}
            data.append({**bar, "marker": {"color": _color(number)}, "showlegend": True})
    layout = {**_axes("fifth of the response", "share of the critical steps"), "barmode": "group"}
    layout["xaxis"] |= {"dtick": 1, "range": [0.4, 5.6]}
    note = "1: the first fifth of a response's steps, 5: the last; average over training steps and seeds."
    return {"title": "Critical steps by fifths of the response", "note": note, "data": data, "layout": layout}


def run_table(groups: Sequence[RunGroup]) -> list[list[str]]:
    """Header and rows, one column for each group: means over seeds, with 95 % t intervals if there are several."""

    def last_validation(log: RunLog) -> float | None:
        curve = log.validation()
        return curve[max(curve)] if curve else None

    def per_step(name: str) -> Callable[[RunLog], float | None]:
        return lambda log: _mean(log, name) if log.series(name) else None

    def total(function: Callable[[RunLog], float]) -> Callable[[RunLog], float | None]:
        return lambda log: function(log) or None

    rows: dict[str, Callable[[RunLog], float | None]] = {
        "validation accuracy, last": last_validation,
        "training steps": lambda log: len(log.series("timing_s/step")),
        "generated tokens": total(lambda log: sum(map(generated_tokens, log.steps.values()))),
        "seconds of training steps": total(lambda log: log.total("timing_s/step")),
        "critical steps found": total(lambda log: log.total("gpo/critical/found")),
        "confidence, average": per_step("gpo/critical/confidence"),
        "share of searched prompts without a critical step": per_step("gpo/prompts/without_critical_step"),
        "share of drawn tokens that are learnt from": per_step("gpo/tokens/learnt_share"),
        "prefix cache hits": per_step("gpo/prefix_cache_hit_share"),
        "requests that failed": lambda log: log.total("gpo/failures/sampling") + log.total("gpo/failures/scoring"),
    }
    table = [["", *(group.name for group in groups)], ["seeds", *(str(len(group.logs)) for group in groups)]]
    for label, function in rows.items():
        cells = []
        for group in groups:
            values = [value for value in map(function, group.logs) if value is not None]
            cells.append(str(estimate(values)) if values else "")
        if any(cells):
            table.append([label, *cells])
    return table
