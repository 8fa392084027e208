"""One self-contained HTML page: the cost and accuracy of runs, and the trajectories that were traced.

All data are embedded as compressed base64, so that no text of a model can end a script or begin a tag. The page
decompresses only what it shows: an index of all trajectories when it opens, their bodies in blocks on demand. Its
policy (CSP) forbids requests and every script without the page's nonce. The page's own code is in ``web/``.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from ..traces.reader import trajectories
from ..traces.record import SCHEMA_VERSION
from ..traces.writer import plain
from .figures import run_figures, run_table
from .runs import RunGroup
from .trace_figures import trace_figures

SCRIPTS = ("unpack.js", "table.js", "turns.js", "trajectory.js", "viewer.js", "plots.js", "main.js")
#: Number of trajectories in one block; they are decompressed together in some milliseconds.
BLOCK = 20
#: Maximal number of characters of a prompt or of one step.
MAX_TEXT = 8000

#: From a trajectory's mapping to known facts that are not in its trace: ``true_critical``, ``true_values``.
Truth = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


def build_page(
    records: Sequence[Mapping[str, Any]],
    groups: Sequence[RunGroup],
    title: str = "GPO report",
    total: int | None = None,
    continuation_chars: int = 300,
    truth: Truth | None = None,
    plotly: str | None = None,
) -> str:
    """The page's HTML.

    Args:
        records: traces to show.
        groups: runs to compare.
        title: title of the page.
        total: number of all traces, if these are a sample.
        continuation_chars: maximal number of characters of a continuation; of a longer one both ends are kept.
        truth: adds known facts about a trajectory.
        plotly: plotly's bundle; None for that of the installed package.
    """
    rows = [row for record in records for row in trajectories(record)]
    if truth is not None:
        rows = [row | dict(truth(row) or {}) for row in rows]
    order = ("global_step", "sample_index", "anchor")
    rows.sort(key=lambda row: [row[key] if isinstance(row.get(key), int) else -1 for key in order])
    ends = shared_ends([row["prompt"] for row in rows])
    figures = [*run_figures(groups), *trace_figures(rows)]
    data = {
        "index": {
            "rows": [index_entry(row, *ends) for row in rows],
            "block": BLOCK,
            "sampled": [len(records), total] if total and total > len(records) else None,
        },
        "overview": {"figures": figures, "table": run_table(groups) if groups else []},
    }
    for start in range(0, len(rows), BLOCK):
        block = [body(row, continuation_chars) for row in rows[start : start + BLOCK]]
        data[f"block-{start // BLOCK}"] = block
    packed = {name: pack(json.dumps(plain(value), separators=(",", ":"))) for name, value in data.items()}
    if figures:
        packed["plotly"] = pack(plotly if plotly is not None else plotly_bundle())
    blobs = "\n".join(f'<script type="text/plain" id="data-{name}">{text}</script>' for name, text in packed.items())
    parts = {
        "title": html.escape(title),
        "nonce": secrets.token_urlsafe(16),
        "schema": str(SCHEMA_VERSION),
        "style": _web("page.css"),
        "script": "\n".join(map(_web, SCRIPTS)),
        "data": blobs,
    }
    # In one pass, so that inserted text is not searched for placeholders.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _web("page.html"))


def plotly_bundle() -> str:
    """The script of the installed plotly."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def pack(text: str) -> str:
    """Text as base64 of its gzip."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _web(name: str) -> str:
    return resources.files(__package__).joinpath("web", name).read_text(encoding="utf-8")


def shared_ends(prompts: Sequence[str]) -> tuple[int, int]:
    """Numbers of characters that all prompts share at the beginning and at the end, which come from the chat template.

    Counted only up to the end of a line or of a tag, so that questions with the same beginning are not cut.
    """
    if len(set(prompts)) < 2:
        return 0, 0
    head = os.path.commonprefix(prompts)
    tail = os.path.commonprefix([prompt[::-1] for prompt in prompts])  # backwards
    return max(head.rfind("\n"), head.rfind(">")) + 1, max(tail.rfind("\n"), tail.rfind("<")) + 1


def index_entry(row: Mapping[str, Any], head: int = 0, tail: int = 0) -> dict[str, Any]:
    """The fields of a trajectory for the list and its filters; ``head`` and ``tail`` are cut from its prompt."""
    critical = row["critical"] or {}
    # Null means that there is no critical step; if it is not known, the field is missing.
    known = {"true": row["true_critical"]} if "true_critical" in row else {}
    return {
        "uid": row.get("uid"),
        "step": row.get("global_step"),
        "anchor": row["anchor"],
        "source": row.get("data_source"),
        "reward": row["reward"],
        "solved": row["solved"],
        "steps": len(row["steps"]),
        "critical": critical.get("step"),
        "confidence": critical.get("confidence"),
        "advantage": critical.get("advantage"),
        **known,
        "text": clip(" ".join(row["prompt"][head : len(row["prompt"]) - tail].split()), 160)[0],
    }


def body(row: Mapping[str, Any], continuation_chars: int) -> dict[str, Any]:
    """The fields of a trajectory for the viewer; texts over their maximal length are clipped."""

    def state(state: Mapping[str, Any]) -> dict[str, Any]:
        continuations = [clipped_continuation(item, continuation_chars) for item in state["continuations"]]
        return {**state, "continuations": continuations}

    prompt, cut = clip(row["prompt"], MAX_TEXT)
    steps = [clipped(step, MAX_TEXT) for step in row["steps"]]
    for step in steps:
        if "before" in step:
            step["before"] = clip(step["before"], MAX_TEXT)[0]
    shown = {"prompt": prompt, "prompt_cut": cut, "steps": steps, "states": list(map(state, row["states"]))}
    if "calls" in row:
        shown["calls"] = list(map(clipped_call, row["calls"]))
    return {**row, **shown}


def clipped_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call of a tool; what it was given, and what it answered if it did, are clipped."""
    return {**call, **{name: clip(call[name] or "", MAX_TEXT)[0] for name in ("arguments", "answer")}}


def clipped_continuation(item: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """A continuation whose text is clipped, and whose parts are clipped to the same text."""
    short = clipped(item, limit)
    if "parts" not in short or "cut" not in short:
        return short
    head, tail = limit - limit // 3, limit // 3
    last = len(item["text"]) - tail
    parts, place = [], 0
    for part in item["parts"]:
        text, end = part["text"], place + len(part["text"])
        # What lies before the gap, the ellipsis in the part in which the gap begins, and what lies behind it.
        kept = text[: max(head - place, 0)] + (" … " if place <= head < end else "") + text[max(last - place, 0) :]
        parts.append({**part, "text": kept})
        place = end
    short["parts"] = [part for part in parts if part["text"]]
    return short


def clipped(item: Mapping[str, Any], limit: int) -> dict[str, Any]:
    text, cut = clip(item["text"], limit)
    return {**item, "text": text, "cut": cut} if cut else dict(item)


def clip(text: str, limit: int) -> tuple[str, int]:
    """At most ``limit`` characters of a text and an ellipsis, from both of its ends, and how many were left out."""
    cut = len(text) - limit
    if cut <= 0:
        return text, 0
    head = limit - limit // 3
    return f"{text[:head]} … {text[len(text) - limit // 3 :]}", cut
