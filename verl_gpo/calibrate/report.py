"""Calibration results as a table, JSON and a plot, and the setting that they recommend."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from ..config import GPOConfig
from .replay import Case, replay

#: A row: the setting, its name, and its results (:meth:`verl_gpo.calibrate.replay.Outcome.summary`).
Row = dict[str, Any]


#: For each search, settings with a lower and a higher cost.
RUNGS: dict[str, list[dict[str, Any]]] = {
    "uniform": [{"n_mc": n} for n in (1, 2, 4, 8, 12, 16)],
    "bisection": [{"n_mc": n} for n in (2, 4, 8, 16)],
    "adaptive": [{"n_mc": 4, "search_budget": b, "stop_confidence": 0.95} for b in (8, 16, 32, 64, 128)],
    "propose": [{"n_reentry": n, "learn_from": "all"} for n in (2, 4, 8)],
    "random": [{}],
    "none": [{}],
}
#: Presets that look for a critical step. Each is measured as it is, so under its own rule.
MEASURED_PRESETS = ("paper", "fast")
#: What the rungs of a search share is not said again in the table.
_SHORT = {"search_budget": "budget", "n_reentry": "n_reentry", "n_mc": "n_mc"}


def ladder(searches: Sequence[str], base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings with a lower and a higher cost, for each search; ``base`` has the settings that they share."""
    return [{**base, "search": search, **rung} for search in searches for rung in RUNGS[search]]


def measure(
    settings: Mapping[str, Any],
    cases: Sequence[Case],
    repeats: int,
    tolerance: float = 0.0,
    by_confidence: bool = False,
    decisive: float = 0.0,
) -> Row:
    """Search all cases with one setting; ``by_confidence``: and say what each ``min_confidence`` would do."""
    config = GPOConfig.from_mapping(settings, refuse_unread=False)
    outcome = replay(config, cases, repeats, tolerance=tolerance, decisive=decisive)
    more = {"by_confidence": outcome.by_confidence()} if by_confidence else {}
    return {"settings": dict(settings), "rule": config.rule, **outcome.summary(), **more}


def name(settings: Mapping[str, Any]) -> str:
    """A setting in the form of overrides, with the search first."""
    rest = [f"{key}={value}" for key, value in settings.items() if key not in ("search", "rule", "min_advantage")]
    return " ".join([settings["search"], *rest] if "search" in settings else rest)


def short_name(settings: Mapping[str, Any]) -> str:
    """The same for a table: what the search's rungs differ in."""
    if "search" not in settings:
        return " ".join(f"{key} {value}" for key, value in settings.items())
    rungs = RUNGS[settings["search"]]
    differing = [key for key in rungs[0] if len({rung[key] for rung in rungs}) > 1]
    return " ".join([settings["search"], *(f"{_SHORT[key]} {settings[key]}" for key in differing)])


class Choice(NamedTuple):
    """A setting and a ``min_confidence``, and what they give."""

    row: Row
    min_confidence: float
    hit_rate: float
    false_alarms: float


def choices(rows: Sequence[Row]) -> list[Choice]:
    """Each setting with each ``min_confidence`` that was measured for it; rows without any count as they are."""
    return [
        Choice(row, one.get("min_confidence", 0.0), one["hit_rate"], one["false_alarms"])
        for row in rows
        for one in row.get("by_confidence") or [row]
    ]


def recommend(rows: Sequence[Row], wanted: float, alarms: float = 1.0) -> Choice | None:
    """The cheapest setting, in tokens, that finds decisive steps and seldom takes others for one; None if none does.

    Args:
        rows: of one rule.
        wanted: least hit rate.
        alarms: highest share of responses without a decisive step for which a step is chosen. Where there are no such
            responses nothing is known of it, and any setting will do.
    """
    enough = [one for one in choices(rows) if one.hit_rate >= wanted and not one.false_alarms > alarms]
    # Of one setting, the choice that finds most.
    return min(enough, key=lambda one: (_cost(one.row), -one.hit_rate), default=None)


def best(rows: Sequence[Row]) -> Choice:
    """The setting with the highest hit rate less the rate of false alarms (Youden's index); the cheapest of equals."""
    return max(choices(rows), key=lambda one: (_known_or(one.hit_rate) - _known_or(one.false_alarms), -_cost(one.row)))


def _cost(row: Row) -> float:
    return row["tokens"] + row["extra_tokens"]


def _known_or(value: float, other: float = 0.0) -> float:
    return other if math.isnan(value) else value


def table(rows: Sequence[Row], root_tokens: float, title: str = "", intervals: bool = True) -> Table:
    """The rows as a rich table of at most 100 columns, of 80 without intervals; ``root_tokens`` are those of one group.

    A response is decisive if one of its steps is important enough. ``hits`` are of the decisive ones, ``false`` of the
    others.
    """
    view = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    view.add_column("setting", no_wrap=True)
    between = ["95 %"] if intervals else []
    for column in ("hits", *between, "false", *between, "stated", "regret", "tokens", "groups", "chosen"):
        view.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        view.add_row(
            short_name(row["settings"]),
            *_rate(row["hit_rate"], row["hit_low"], row["hit_high"])[: 1 + intervals],
            *_rate(row["false_alarms"], row["alarm_low"], row["alarm_high"])[: 1 + intervals],
            _number(row["confidence"], ".2f"),
            _number(row["regret"], ".2f"),
            f"{row['tokens']:,.0f}",
            f"{row['tokens'] / root_tokens:.2f}",
            f"{row['reentered']:.0%}",
        )
    return view


LEGEND = (
    "hits: chosen step is the decisive one, of responses that have one. false: a step was chosen, of responses that "
    "have none. stated: mean confidence. tokens: Monte Carlo tokens a response; groups: the same in groups of roots."
)


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _rate(rate: float, low: float, high: float) -> tuple[str, str]:
    return ("-", "") if math.isnan(rate) else (f"{rate:.2f}", f"{low:.2f}-{high:.2f}")


def thresholds(row: Row) -> Table:
    """Effect of ``min_confidence`` on one setting, as a rich table."""
    view = Table(title=f"min_confidence of {name(row['settings'])}", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("algorithm.gpo.min_confidence", "chosen", "hits", "false", "right of the chosen"):
        view.add_column(column, justify="right")
    for one in row["by_confidence"]:
        rates = (_number(one[key], ".2f") for key in ("hit_rate", "false_alarms", "precision"))
        view.add_row(f"{one['min_confidence']:.1f}", f"{one['reentered']:.0%}", *rates)
    return view


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot hit rate against Monte Carlo tokens, with intervals; a panel for each rule, a line for each search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rules = list(dict.fromkeys(row["rule"] for row in rows))
    size = (1.2 + 5.2 * len(rules), 4.0)
    figure, panels = pyplot.subplots(1, len(rules), figsize=size, layout="constrained", squeeze=False, sharey=True)
    for axes, rule in zip(panels[0], rules, strict=True):
        ruled = [row for row in rows if row["rule"] == rule and not math.isnan(row["hit_rate"])]
        for search in dict.fromkeys(search_of(row) for row in ruled):
            mine = sorted((r for r in ruled if search_of(r) == search), key=lambda r: r["tokens"])
            tokens = [max(row["tokens"], 1.0) for row in mine]
            rates = [row["hit_rate"] for row in mine]
            below = [max(row["hit_rate"] - row["hit_low"], 0.0) for row in mine]
            above = [max(row["hit_high"] - row["hit_rate"], 0.0) for row in mine]
            axes.errorbar(tokens, rates, yerr=[below, above], marker="o", capsize=3, label=search)
        axes.set_xscale("log")
        axes.set_xlabel("Monte Carlo tokens a response")
        axes.set_title(f"rule={rule}")
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        if ruled:
            axes.legend(fontsize="small")
    panels[0][0].set_ylabel("hit rate on decisive responses")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def search_of(row: Row) -> str:
    settings = row["settings"]
    return settings["search"] if "search" in settings else short_name(settings)


def _known(value: Any) -> Any:
    """The value with null instead of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def write(
    out: Path, rows: Sequence[Row], about: Mapping[str, Any], wanted: float, alarms: float, console: Console
) -> None:
    """Print tables and recommendations, one for each rule, and write ``calibration.json`` and ``calibration.png``."""
    recommended: dict[str, dict[str, Any] | None] = {}
    console.print(f"{about['responses']} responses, {about['steps']:.1f} steps each", highlight=False)
    for rule in dict.fromkeys(row["rule"] for row in rows):
        ruled = [row for row in rows if row["rule"] == rule]
        with_step = f"{ruled[0]['decisive']:.0%} of the responses are decisive"
        console.print(table(ruled, about["root_tokens"], f"rule={rule}: {with_step}", console.width >= 100))
        chosen = recommend(ruled, wanted, alarms)
        recommended[rule] = None if chosen is None else overrides(chosen)
        if ruled[0]["decisive"] < _TOO_FEW / max(about["responses"], 1):
            console.print(f"too few decisive responses for a hit rate: under {_TOO_FEW}", highlight=False)
        aim = f"at least {wanted:.2f} hits and at most {alarms:.2f} false alarms"
        if chosen is None:
            chosen = best(ruled)
            console.print(f"no setting has {aim}; the one with most hits less false alarms:", highlight=False)
        else:
            console.print(f"cheapest setting with {aim}:", highlight=False)
        for key, value in overrides(chosen).items():
            console.print(f"  algorithm.gpo.{key}={value}", highlight=False)
        console.print(
            f"  {chosen.hit_rate:.2f} hits, {_number(chosen.false_alarms, '.2f')} false alarms", highlight=False
        )
        if chosen.row.get("by_confidence"):
            console.print(thresholds(chosen.row))
    console.print(LEGEND, highlight=False)
    record = {**about, "wanted": wanted, "alarms": alarms, "recommended": recommended, "rows": list(rows)}
    (out / "calibration.json").write_text(json.dumps(_known(record), indent=1, allow_nan=False) + "\n")
    plot(rows, out / "calibration.png")
    console.print(f"written: {out / 'calibration.json'}, {out / 'calibration.png'}", highlight=False)


#: With fewer decisive responses than this, no rate is worth reading.
_TOO_FEW = 4


def overrides(choice: Choice) -> dict[str, Any]:
    """What to set for a choice."""
    settings = dict(choice.row["settings"])
    if choice.min_confidence:
        settings["min_confidence"] = choice.min_confidence
    return settings
