"""The tables of ``bench_gradient.py``'s result, as Markdown, and the page that shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.experiments.cells import table
from scripts.experiments.markers import fill, write

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "scripts" / "results" / "bench_gradient.json"
PAGE = REPOSITORY / "docs" / "signal.md"
BASE = "grpo n=8"
Rows = Sequence[Mapping[str, Any]]

#: Tables of the section ``signal``: their methods.
NOTHING_DRAWN = ("grpo n=4", "grpo n=16", "PODS 8 of 16", "random", "lean, by belief", "first loss 2+6, by belief")
KNOWN = ("lean", "oracle", "first error", "first error 2+6", "steps, known")
VALUED = ("propose", "fast", "fast, steps", "paper", "paper, steps", "steps, one anchor", "VinePPO")


def page() -> str:
    """``docs/signal.md`` with the tables of the committed result.

    Raises:
        ValueError: the page lacks a marker.
    """
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    return fill(PAGE.read_text(encoding="utf-8"), "bench_gradient", sections(result))


def write_page() -> None:
    """Write it, if it has changed."""
    print(f"{PAGE}: {'written' if write({PAGE: page()}) else 'is up to date'}")


def sections(result: Mapping[str, Any]) -> dict[str, str]:
    """Name of each part of the page, and its table."""
    parts = {}
    if "signal" in result:
        rows = [*result["signal"]["rows"], *result.get("searches", {}).get("rows", [])]
        parts |= {"nothing_drawn": signal(rows, NOTHING_DRAWN), "known": signal(rows, KNOWN)}
        parts |= {"valued": signal(rows, VALUED)}
        parts["same_prompt"] = signal(rows, ("grpo n=4", "grpo n=16", "lean", "steps, known"), "needed_same_prompt")
    if "training" in result:
        parts["training"] = training(result["training"]["rows"])
    return parts


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    return "\n\n".join(f"{name}\n\n{text}" for name, text in sections(result).items())


def signal(rows: Rows, methods: Sequence[str], column: str = "needed") -> str:
    """Tokens that each method needs, as a multiple of GRPO's, a line for each chain."""
    found: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["success"], row["pivotal"], row["place"]), {})[row["method"]] = row
    lines = []
    for (success, pivotal, place), named in found.items():
        base = named[BASE][column]
        cells = [f"{named[method][column] / base:.2f}" if method in named else "" for method in methods]
        lines.append((f"{success:g}", pivotal, place, *cells))
    return table(("root success", "pivotal steps of 24", "place", *(f"`{one}`" for one in methods)), lines, 3)


def training(rows: Rows) -> str:
    """Tokens to the success of 0.6, as a multiple of GRPO's, and at what batch and rate."""
    chains = list(dict.fromkeys(row["chain"] for row in rows))
    named = {(row["chain"], row["method"]): row for row in rows}
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        cells: list[str] = []
        for chain in chains:
            row, base = named[chain, method], named[chain, BASE]
            cells.append(f"{row['tokens'] / base['tokens']:.2f}")
            cells.append("not reached" if row["prompts"] is None else f"{row['prompts']}, {row['rate']:g}")
        lines.append((f"`{method}`", *cells))
    head = [cell for chain in chains for cell in (f"{chain}: x tokens of GRPO", "prompts a step, rate")]
    return table(("method", *head), lines, 1)
