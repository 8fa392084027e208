"""Figures of traces: positions of critical steps, confidence of the choice, and its accuracy if the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..statistics import wilson_interval
from .figures import COLORS, Figure

BINS = 10
_NONE = "none"


def trace_figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Figures of trajectories (:func:`~verl_gpo.traces.reader.trajectories`); [] without trajectories."""
    found = [row for row in rows if row["critical"] is not None]
    known = [row for row in rows if "true_critical" in row]
    figures = []
    if found:
        figures += [_positions(found), _confidences(found)]
    if known:
        figures += [_true_against_found(known)]
    judged = [row for row in known if row["critical"] is not None and row["critical"]["confidence"] is not None]
    if judged:
        figures += [_hits(judged)]
    return figures


def _bin(share: float) -> int:
    return min(int(share * BINS), BINS - 1)


def _middles() -> list[float]:
    return [(number + 0.5) / BINS for number in range(BINS)]


def _by_outcome(rows: Sequence[Mapping[str, Any]], share: Any) -> list[dict[str, Any]]:
    data = []
    for solved, name, color in ((True, "solved", COLORS[2]), (False, "failed", COLORS[1])):
        counts = Counter(_bin(share(row)) for row in rows if row["solved"] == solved)
        if counts:
            y = [counts[number] for number in range(BINS)]
            data.append({"type": "bar", "name": name, "x": _middles(), "y": y, "marker": {"color": color}})
    return data


def _layout(x: str, y: str) -> dict[str, Any]:
    return {
        "barmode": "stack",
        "bargap": 0.05,
        "xaxis": {"title": {"text": x}, "range": [0, 1]},
        "yaxis": {"title": {"text": y}, "rangemode": "tozero"},
    }


def _positions(rows: Sequence[Mapping[str, Any]]) -> Figure:
    def position(row: Mapping[str, Any]) -> float:
        return row["critical"]["step"] / max(len(row["steps"]) - 1, 1)

    note = f"{len(rows)} traced trajectories with a critical step, by their outcome; 0: the first step, 1: the last."
    title = "Where critical steps are"
    return {
        "title": title,
        "note": note,
        "data": _by_outcome(rows, position),
        "layout": _layout("position in the response", "trajectories"),
    }


def _confidences(rows: Sequence[Mapping[str, Any]]) -> Figure:
    sure = [row for row in rows if row["critical"]["confidence"] is not None]
    return {
        "title": "How sure the choice is",
        "note": "Probability that the chosen step is the critical one, by the outcome of the response.",
        "data": _by_outcome(sure, lambda row: row["critical"]["confidence"]),
        "layout": _layout("confidence", "trajectories"),
    }


def _true_against_found(rows: Sequence[Mapping[str, Any]]) -> Figure:
    def name(step: int | None) -> str:
        return _NONE if step is None else str(step)

    pairs = Counter((row["true_critical"], row["critical"] and row["critical"]["step"]) for row in rows)
    steps = sorted({step for pair in pairs for step in pair if step is not None})
    order = [*steps, None]
    hits = sum(count for (true, found), count in pairs.items() if true == found)
    low, high = wilson_interval(hits / len(rows), len(rows))
    return {
        "title": "Critical steps, true and found",
        "note": (
            f"The same step, or none by both: {hits} of {len(rows)} = {hits / len(rows):.2f} "
            f"[{low:.2f}, {high:.2f}] (95 %, Wilson). On the diagonal what was found is true."
        ),
        "data": [
            {
                "type": "heatmap",
                "x": [name(step) for step in order],
                "y": [name(step) for step in order],
                "z": [[pairs[true, found] for found in order] for true in order],
                "text": [[str(pairs[true, found] or "") for found in order] for true in order],
                "texttemplate": "%{text}",
                "colorscale": [[0, "rgba(0,114,178,0)"], [1, COLORS[0]]],
                "showscale": False,
                "hovertemplate": "true %{y}, found %{x}: %{z}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"title": {"text": "found"}, "type": "category", "showgrid": False},
            "yaxis": {"title": {"text": "true"}, "type": "category", "showgrid": False, "autorange": "reversed"},
        },
    }


def _hits(rows: Sequence[Mapping[str, Any]]) -> Figure:
    bins: list[list[bool]] = [[] for _ in range(BINS)]
    for row in rows:
        bins[_bin(row["critical"]["confidence"])].append(row["critical"]["step"] == row["true_critical"])
    filled = [(middle, hits) for middle, hits in zip(_middles(), bins, strict=True) if hits]
    shares = [sum(hits) / len(hits) for _, hits in filled]
    bounds = [wilson_interval(share, len(hits)) for share, (_, hits) in zip(shares, filled, strict=True)]
    return {
        "title": "Hits by confidence",
        "note": "Share of the chosen steps that are the true ones, with 95 % intervals; dashed: as often as promised.",
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [0, 1],
                "y": [0, 1],
                "line": {"dash": "dash", "width": 1, "color": "rgba(128,128,128,1)"},
                "hoverinfo": "skip",
                "showlegend": False,
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "hits",
                "showlegend": False,
                "x": [middle for middle, _ in filled],
                "y": shares,
                "text": [f"{len(hits)} trajectories" for _, hits in filled],
                "line": {"color": COLORS[0]},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [high - share for share, (_, high) in zip(shares, bounds, strict=True)],
                    "arrayminus": [share - low for share, (low, _) in zip(shares, bounds, strict=True)],
                },
            },
        ],
        "layout": {
            "xaxis": {"title": {"text": "confidence"}, "range": [0, 1.02]},
            "yaxis": {"title": {"text": "share that is true"}, "range": [-0.02, 1.02]},
        },
    }
