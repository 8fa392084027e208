"""Prints one trajectory: its steps coloured by advantage, the state values between them, and the continuations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..traces.reader import read_traces, trajectories
from .page import clip

#: Number of characters of a value's bar.
_BAR = 20
#: Control characters (also C1) with which a text could control the terminal, and halves of surrogate pairs.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def safe(text: str) -> str:
    """Text with its control characters replaced."""
    return _CONTROL.sub("\ufffd", text)


def find(path: str | Path, uid: str | None = None, number: int | None = None) -> list[dict[str, Any]]:
    """The trajectories with a uid, or the one with a number (from 0, negative from the end); without either the last.

    Raises:
        LookupError: there is no such trajectory.
        FileNotFoundError, ValueError: see :func:`~verl_gpo.traces.reader.read_traces`.
    """
    every: Iterator[dict[str, Any]] = (row for record in read_traces(path) for row in trajectories(record))
    if uid is not None:
        found = [row for row in every if row.get("uid") == uid]
        if not found:
            raise LookupError(f"no trajectory with uid {uid!r} in {path}")
        return found
    rows = list(every)
    number = -1 if number is None else number
    if not -len(rows) <= number < len(rows):
        raise LookupError(f"no trajectory {number}: {path} holds {len(rows)}")
    return [rows[number]]


def print_trajectory(row: Mapping[str, Any], console: Console, continuations: bool = False) -> None:
    """Print one of :func:`find`'s trajectories; with ``continuations``, a line of each as well."""
    low, high = row["reward_range"]
    title = [
        f"step {row.get('global_step')}",
        row.get("data_source"),
        f"uid {row.get('uid')}",
        f"response {row['anchor']}",
    ]
    console.print(Text(" · ".join(safe(str(part)) for part in title if part), style="bold"))
    critical = row["critical"]
    found = "no critical step"
    if critical:
        found = f"critical step {critical['step']}, A {_signed(critical['advantage'])}, "
        found += f"confidence {_number(critical['confidence'])}"
    if "true_critical" in row:
        found += f" (true: {'none' if row['true_critical'] is None else row['true_critical']})"
    outcome = Text("solved" if row["solved"] else "failed", style="green" if row["solved"] else "red")
    console.print(
        outcome + Text(f", reward {_number(row['reward'])}, {row['tokens']} tokens; {found}", style="default")
    )
    console.print(Text(safe(clip(row["prompt"], 2000)[0]), style="dim"))
    for k, state in enumerate(row["states"]):
        _print_state(row, k, state, low, high, console, continuations)
        if k < len(row["steps"]):
            _print_step(row, k, high - low, console)


def _print_state(
    row: Mapping[str, Any], k: int, state: Mapping[str, Any], low: float, high: float, console: Console, more: bool
) -> None:
    if state["value"] is not None or state["continuations"]:
        line = Text(f"      V(s{k}) {_bar(state, low, high)} {_number(state['value'])}", style="cyan")
        if state["count"]:
            line.append(f" [{_number(state['low'])}, {_number(state['high'])}] of {state['count']}", style="dim")
        truth = row.get("true_values")
        if truth and k < len(truth):
            line.append(f" true {_number(truth[k])}", style="dim")
        if row["reset_state"] == k:
            line.append("  reset here", style="bold magenta")
        console.print(line)
    for item in state["continuations"] if more else ():
        text = safe(clip(" ".join(item["text"].split()), 100)[0])
        console.print(Text(f"        {_number(item['reward'])} {'*' if item['learnt'] else ' '} {text}", style="dim"))


def _print_step(row: Mapping[str, Any], k: int, span: float, console: Console) -> None:
    step = row["steps"][k]
    is_critical = row["critical"] is not None and row["critical"]["step"] == k
    mark = ">" if is_critical else "◆" if row.get("true_critical") == k else " "
    line = Text(f"{mark}{k:>3} {_signed(step['advantage']):>6} ", style="bold magenta" if is_critical else "dim")
    line.append(safe(step["text"].rstrip("\n")), style=_style(step["advantage"], span))
    console.print(line)


def _style(advantage: float | None, span: float) -> str:
    if advantage is None or abs(advantage) < 0.05 * (span or 1.0):
        return "default"
    strong = "bold " if abs(advantage) >= 0.4 * span else ""
    return strong + ("blue" if advantage > 0 else "dark_orange")


def _bar(state: Mapping[str, Any], low: float, high: float) -> str:
    def cell(value: float) -> int:
        return round((value - low) / ((high - low) or 1.0) * (_BAR - 1))

    cells = ["·"] * _BAR
    if state["value"] is not None:
        for place in range(max(cell(state["low"]), 0), min(cell(state["high"]), _BAR - 1) + 1):
            cells[place] = "─"
        cells[min(max(cell(state["value"]), 0), _BAR - 1)] = "●"
    return "".join(cells)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
