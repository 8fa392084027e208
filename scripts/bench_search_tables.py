"""The result of ``bench_search.py`` as tables in Markdown, and the page that shows them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.experiments.markers import fill, write
from verl_gpo.calibrate.report import name

Row = dict
REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "scripts" / "results" / "bench_search.json"
PAGE = REPOSITORY / "docs" / "search.md"
#: Number of continuations at each state of the paper's search, with which cheaper searches are compared.
BASELINE = 8


def page() -> str:
    """``docs/search.md`` with the tables of the committed result.

    Raises:
        ValueError: the page has no markers.
    """
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    return fill(PAGE.read_text(encoding="utf-8"), "bench_search", {"": markdown(result)})


def write_page() -> None:
    """Write the page, if it has changed."""
    print(f"{PAGE}: {'written' if write({PAGE: page()}) else 'is up to date'}")


def markdown(result: dict) -> str:
    """The tables of all sections that a result holds."""
    parts = []
    for section, (heading, reading, table) in TABLES.items():
        if section in result:
            parts.append(f"### {heading}\n\n{reading}\n\n{table(result[section]['rows'])}")
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def groups(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """The rows by the kind of the responses that were searched, and their number of steps."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["kind"], row["steps"]), []).append(row)
    return found


def of(rows: Sequence[Row], search: str, log_probs: bool = True, **settings: object) -> list[Row]:
    """The rows of one search, in the order of their tokens.

    Args:
        log_probs: whether the search had the log-probs of the responses.
        settings: ``value_model``, if it is not the default.
    """
    mine = [
        row
        for row in rows
        if row["settings"].get("search") == search
        and row.get("log_probs", True) == log_probs
        and row["settings"].get("value_model") == settings.get("value_model")
    ]
    return sorted(mine, key=lambda row: row["tokens"])


def uniform_at(rows: Sequence[Row], tokens: float) -> float:
    """The hit rate of the paper's search for a number of tokens, interpolated between two measured settings."""
    ladder = of(rows, "uniform")
    if tokens <= ladder[0]["tokens"]:
        # With less than one continuation at each state it is at best what one continuation gives.
        return ladder[0]["hit_rate"]
    for cheap, expensive in zip(ladder, ladder[1:], strict=False):
        if tokens <= expensive["tokens"]:
            part = (tokens - cheap["tokens"]) / (expensive["tokens"] - cheap["tokens"])
            return cheap["hit_rate"] + part * (expensive["hit_rate"] - cheap["hit_rate"])
    return ladder[-1]["hit_rate"]


def cheapest(rows: Sequence[Row], least: float) -> Row | None:
    """The first row with a hit rate of at least ``least``, None if there is none."""
    return next((row for row in rows if row["hit_rate"] >= least), None)


def equal_hits(rows: Sequence[Row], columns: dict[str, Callable[[Sequence[Row]], list[Row]]]) -> str:
    """The tokens that a search needs to come within 2 points of the paper's hit rate, as a share of its tokens.

    Args:
        columns: title of a column -> the function that picks its rows.
    """
    table = []
    for (kind, steps), mine in groups(rows).items():
        base = next(row for row in of(mine, "uniform") if row["settings"]["n_mc"] == BASELINE)
        cells = []
        for pick in columns.values():
            row = cheapest(pick(mine), base["hit_rate"] - 0.02)
            cells.append("-" if row is None else f"{row['tokens'] / base['tokens']:.2f} ({row['hit_rate']:.2f})")
        table.append((f"{kind}, {steps} steps", f"{base['hit_rate']:.2f}", f"{base['tokens']:,.0f}", *cells))
    return _table((f"uniform, n_mc={BASELINE}", "hit rate", "tokens", *columns), table)


def equal_tokens(rows: Sequence[Row], columns: dict[str, Callable[[Sequence[Row]], list[Row]]]) -> str:
    """The hit rate of a search minus that of the paper's search for the same tokens: smallest and largest difference.

    Args:
        columns: title of a column -> the function that picks its rows.
    """
    table = []
    for (kind, steps), mine in groups(rows).items():
        cells = []
        for pick in columns.values():
            gains = [100 * (row["hit_rate"] - uniform_at(mine, row["tokens"])) for row in pick(mine)]
            cells.append(f"{min(gains):+.0f} to {max(gains):+.0f}" if gains else "-")
        table.append((f"{kind}, {steps} steps", *cells))
    return _table(("points above uniform at equal tokens", *columns), table)


CURVE_COLUMNS = {"bisection": lambda rows: of(rows, "bisection"), "adaptive": lambda rows: of(rows, "adaptive")}
ARITHMETIC_COLUMNS = {
    **CURVE_COLUMNS,
    "adaptive, no log-probs": lambda rows: of(rows, "adaptive", log_probs=False),
    "propose": lambda rows: of(rows, "propose"),
    "uniform, value_model=curve": lambda rows: of(rows, "uniform", value_model="curve"),
}


def _curves(rows: Sequence[Row]) -> str:
    return equal_hits(rows, CURVE_COLUMNS) + "\n\n" + equal_tokens(rows, CURVE_COLUMNS)


def _arithmetic(rows: Sequence[Row]) -> str:
    tables = (equal_hits(rows, ARITHMETIC_COLUMNS), equal_tokens(rows, ARITHMETIC_COLUMNS), stated(rows))
    return "\n\n".join(tables)


def stated(rows: Sequence[Row]) -> str:
    """Mean stated confidence and mean hit rate of each search, over its settings."""
    table = []
    for (kind, steps), mine in groups(rows).items():
        cells = []
        for pick in ARITHMETIC_COLUMNS.values():
            picked = pick(mine)
            means = [statistics.fmean(row[key] for row in picked) for key in ("confidence", "hit_rate")]
            cells.append("{:.2f}, {:.2f}".format(*means))
        table.append((f"{kind}, {steps} steps", *cells))
    return _table(("stated confidence, hit rate", *ARITHMETIC_COLUMNS), table)


def _abstention(rows: Sequence[Row]) -> str:
    settings = list(dict.fromkeys(name(row["settings"]) for row in rows))
    table = [
        (kind, *(f"{row['reentered']:.0%}, {row['precision']:.2f}" for row in mine))
        for (kind, _), mine in groups(rows).items()
    ]
    return _table(("re-entered, precision", *settings), table)


def _confidence(rows: Sequence[Row]) -> str:
    table = [
        (
            name(row["settings"]),
            f"{row['hit_rate']:.3f}",
            f"{row['confidence']:.3f}",
            f"{row['calibration_error']:.3f}",
            row["searches"],
        )
        for row in rows
    ]
    return _table(("setting", "hit rate", "mean confidence", "calibration error", "searches"), table)


def _learn_from(rows: Sequence[Row]) -> str:
    alone = {row["settings"]["search"]: row["tokens"] for row in rows if row["settings"]["learn_from"] == "fresh"}
    table = []
    for row in rows:
        search, spent = row["settings"]["search"], row["tokens"] + row["extra_tokens"]
        cells = (f"{spent / alone[search]:.2f}", f"{row['learnt_share']:.2f}", f"{row['bias']:+.3f}")
        table.append((search, row["settings"]["learn_from"], *cells, f"{row['hit_rate']:.2f}"))
    head = ("search", "learn_from", "tokens / search alone", "share trained on", "bias of the group", "hit rate")
    return _table(head, table)


def _engine(rows: Sequence[Row]) -> str:
    by_setting: dict[str, list[Row]] = {}
    for row in rows:
        by_setting.setdefault(name(row["settings"]) if row["settings"] else row["kind"], []).append(row)
    table = []
    for setting, mine in by_setting.items():

        def middle(key: str, form: str, mine: list[Row] = mine) -> str:
            return format(statistics.median(row[key] for row in mine), form) if key in mine[0] else ""

        rates = (middle("prompts", ".0f"), middle("tokens_per_second", ",.0f"), middle("throughput_ratio", ".2f"))
        rates += (middle("requests_per_second", ",.0f"), middle("in_flight", ".0f"), middle("cache_hits", ".1%"))
        table.append((setting, *rates, middle("cpu_share", ".1%"), middle("cpu_ms_a_prompt", ".1f")))
    head = ("", "prompts", "tokens / s", "/ plain", "requests / s", "in flight", "cache hits")
    return _table((*head, "search's CPU time", "CPU ms a prompt"), table)


#: Section -> its heading, an explanation of its tables, and the function that makes them.
TABLES: dict[str, tuple[str, str, Callable[[Sequence[Row]], str]]] = {
    "curves": (
        "Simulated value curves",
        "The first table is at equal hit rate: the tokens of the cheapest setting whose hit rate (in brackets) is at "
        "most 2 points below that of the paper's search, as a share of that search's tokens; `-` if there is none. The "
        "second is at equal tokens: smallest and largest difference over the settings of a search.",
        _curves,
    ),
    "arithmetic": (
        "A model through vLLM",
        "The arithmetic model, whose true values are computed from its own probabilities. In solved responses the step "
        "that gains most is searched for (`argmax`), in failed ones the first wrong line (`argmin`).",
        _arithmetic,
    ),
    "abstention": (
        "Abstention",
        "Share of responses that re-enter, and the share of the chosen steps that are truly critical; 16 steps.",
        _abstention,
    ),
    "confidence": (
        "Confidence",
        "All kinds of jumps, 8 to 32 steps. The error is the expected calibration error in ten bins.",
        _confidence,
    ),
    "learn_from": (
        "What is trained on",
        "One jump among smaller changes, 16 steps. The bias is the mean reward of the group minus the true value of "
        "the reset state.",
        _learn_from,
    ),
    "engine": (
        "Throughput on vLLM",
        "Prompts of the arithmetic task, 16 steps. Plain rollouts and re-entry take turns on the same vLLM, with at "
        "most 64 requests in flight. The CPU time of the search is given as a share of the phase, and for a prompt.",
        _engine,
    ),
    "costly_engine": (
        "Throughput on vLLM, if a token costs more than a request",
        "As above, with a model of 6 M parameters that samples the same text: the MLPs of the first model are widened "
        "by zeros.",
        _engine,
    ),
}
