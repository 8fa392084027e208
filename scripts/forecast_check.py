"""Is a forecast right? ``verl_gpo.forecast`` on the models that trainings started from, against the trained rows.

    python -m scripts.forecast_check run --work outputs/forecast_check    # forecasts what has no result yet
    python -m scripts.forecast_check page                                 # the table of docs/forecast.md

A regime's problems and model are made as for its trainings, and its forecast is kept in ``scripts/results/forecast``.
What training gave is read from ``scripts/experiments/results``: points above GRPO at equal tokens, in all grids in
which the method ran.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.experiments.cells import final_difference, table
from scripts.experiments.comparison import at_equal_cost
from scripts.experiments.grids import FOLDER as GRIDS
from scripts.experiments.grids import Regime, known_grids
from scripts.experiments.markers import fill, write
from scripts.experiments.pipeline import REPOSITORY
from scripts.experiments.results import FOLDER as RESULTS
from scripts.experiments.results import read_results
from scripts.experiments.rows import Run, by_cell
from scripts.experiments.tables import curves
from verl_gpo.forecast.report import ENOUGH

FORECASTS = REPOSITORY / "scripts" / "results" / "forecast"
PAGE = REPOSITORY / "docs" / "forecast.md"
#: Grids in which methods have as many tokens as GRPO, and rows as many as GRPO's; and those with more of both.
MATCHED, ADDED = ("tokens", "few", "skills"), ("protocol", "protocol24")
#: Name in a table of trained rows -> name in a forecast, for each kind of grid.
NAMES = {
    "grpo prompts=4 rollouts=4": "grpo_half_n",
    "random": "random",
    "lean": "lean",
    "gpo_fast": "fast",
    "gpo_paper": "paper",
}
#: GRPO with half its mini-batch, in a table of trained rows.
HALF = "grpo mini_batches=2"
#: Settings of the forecasts, the same for all regimes.
OPTIONS = ("--n", "8", "--mini-batch", "8", "--batches", "24", "--groups", "1", "--eval-prompts", "128")


@dataclass(frozen=True)
class Pair:
    """A method in a regime: what was forecast, and what training gave.

    Attributes:
        place: ``GRID/REGIME``.
        method: its name in the forecast.
        ratio: tokens needed, as a multiple of GRPO's; NaN where GRPO's batches, or the method's, did not agree at all.
        step: points above GRPO's after one step; NaN without steps.
        points: above GRPO at equal tokens, after training.
        seeds: of the trainings.
    """

    place: str
    method: str
    ratio: float
    step: float
    points: float
    seeds: int


def regimes() -> dict[str, Regime]:
    """Regimes of arithmetic with trained rows, by name."""
    grids = known_grids(GRIDS)
    found: dict[str, Regime] = {}
    for name in (*MATCHED, *ADDED):
        for regime, settings in grids[name].regimes.items():
            if settings.task == "arithmetic":
                found.setdefault(regime, settings)
    return found


def trained(runs: Sequence[Run]) -> dict[tuple[str, str, str], tuple[float, int]]:
    """``(grid, regime, method)`` to points above GRPO at equal tokens, and the number of seeds."""
    found = {}
    for grid in (*MATCHED, *ADDED):
        cells = by_cell([run for run in runs if run.grid == grid])
        for (regime, name), ours in cells.items():
            theirs = cells.get((regime, "grpo"), {})
            equal = at_equal_cost(curves(ours), curves(theirs), "tokens") if name in NAMES else None
            if equal is not None:
                found[grid, regime, NAMES[name]] = (100 * equal.pairs.difference.mean, equal.pairs.seeds)
    return found


def pairs(forecasts: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> list[Pair]:
    """Every method of every regime that has both."""
    found = []
    for (grid, regime, method), (points, seeds) in trained(runs).items():
        rows = {row["name"]: row for row in forecasts.get(regime, {}).get("methods", [])}
        if method in rows:
            ratio, step = (_number((rows[method][key] or {}).get("value")) for key in ("ratio", "against_base"))
            ratio = ratio if ratio > 0 else math.nan  # older results have 0 where GRPO's batches did not agree
            found.append(Pair(f"{grid}/{regime}", method, ratio, 100 * step, points, seeds))
    return found


def halves(forecasts: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> list[tuple[str, float, float, int]]:
    """What the forecast says of half the mini-batch, and what it gave.

    Returns:
        ``GRID/REGIME``, cosine of two of GRPO's mini-batches at the start, points of GRPO with half of it above GRPO at
        the end of training, and seeds.
    """
    found = []
    for grid in ADDED:
        cells = by_cell([run for run in runs if run.grid == grid])
        for (regime, name), ours in cells.items():
            base = next((row for row in forecasts.get(regime, {}).get("methods", []) if row["name"] == "grpo"), None)
            pair = final_difference(ours, cells.get((regime, "grpo"), {})) if name == HALF and base else None
            if pair is not None:
                found.append((f"{grid}/{regime}", _number(base["mini_batch"]), 100 * pair.difference.mean, pair.seeds))
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, int]:
    """Spearman's rank correlation, its two-sided p, and the number of known pairs; NaN for less than three."""
    from scipy.stats import spearmanr

    known = [(a, b) for a, b in zip(first, second, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(known) < 3:
        return math.nan, math.nan, len(known)
    rho, p = spearmanr(*zip(*known, strict=True))
    return float(rho), float(p), len(known)


def markdown(found: Sequence[Pair], half: Sequence[tuple[str, float, float, int]] = ()) -> str:
    """The pairs, the rank correlations, and what half the mini-batch gave."""
    if not found:
        return "No forecast has been made yet."
    rows = [
        (
            one.place,
            f"`{one.method}`",
            _cell(one.ratio, ".2f"),
            _cell(one.step, "+.1f"),
            f"{one.points:+.1f}",
            one.seeds,
        )
        for one in sorted(found, key=lambda one: (one.place, one.ratio))
    ]
    head = ("grid/regime", "method", "forecast: x tokens of GRPO", "forecast: points after a step", "trained: points")
    both = [
        ("all pairs", found),
        ("rows matched", [one for one in found if one.place.partition("/")[0] in MATCHED]),
        ("rows added", [one for one in found if one.place.partition("/")[0] in ADDED]),
    ]
    said = []
    for title, some in both:
        points = [one.points for one in some]
        line: list[object] = [title]
        for values in ([-one.ratio for one in some], [one.step for one in some]):
            rho, p, count = rank_correlation(values, points)
            line += [count, _cell(rho, "+.2f"), _cell(p, ".3f")]
        agree = [(one.ratio < 1) == (one.points > 0) for one in some if math.isfinite(one.ratio)]
        said.append((*line, f"{sum(agree)} of {len(agree)}"))
    columns = ("", "pairs", "rank correlation: fewer tokens", "p", "pairs", "rank correlation: step", "p")
    both_ways = [
        (place, _cell(cosine, ".2f"), "yes" if cosine >= ENOUGH else "no", f"{points:+.1f}", seeds)
        for place, cosine, points, seeds in half
    ]
    last = (
        "grid/regime",
        "cosine of two mini-batches",
        "forecast: half of it",
        "trained: points of half of it",
        "seeds",
    )
    tables = (
        table((*head, "seeds"), rows, 2),
        table((*columns, "right side of GRPO: fewer tokens"), said, 1),
        table(last, both_ways, 1),
    )
    return "\n\n".join(tables)


def cost(forecasts: Mapping[str, Mapping[str, Any]]) -> str:
    """What a forecast took, in a sentence."""
    if not forecasts:
        return "Their cost is not known yet."
    seconds, cpu = ([record[key] for record in forecasts.values()] for key in ("seconds", "cpu_seconds"))
    return (
        f"Each forecast took {min(cpu):.0f} to {max(cpu):.0f} CPU seconds, and {min(seconds):.0f} to "
        f"{max(seconds):.0f} seconds beside other work on two cores."
    )


def _cell(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "unknown"


def read_forecasts() -> dict[str, dict[str, Any]]:
    """By regime."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FORECASTS.glob("*.json"))}


def page() -> str:
    """``docs/forecast.md`` with the comparison."""
    forecasts, runs = read_forecasts(), read_results(RESULTS, known_grids(GRIDS))
    text = markdown(pairs(forecasts, runs), halves(forecasts, runs)) + "\n\n" + cost(forecasts)
    return fill(PAGE.read_text(encoding="utf-8"), "forecast_check", {"": text})


def forecast(regime: str, settings: Regime, work: Path, methods: str | None, vllm: bool) -> int:
    """Make a regime's model, if it is not there, and its forecast."""
    from recipes.arithmetic.prepare import main as prepare
    from verl_gpo.forecast.__main__ import main as run

    data, out = work / regime / "data", work / regime / "forecast"
    if status := prepare([*settings.arguments, "--out", str(data)]):
        return status
    prompt, response = settings.lengths
    where = ["--model", f"{data}/model", "--data", f"{data}/train.parquet", "--out", str(out)]
    where += ["--reward", f"{REPOSITORY}/recipes/arithmetic/reward.py", "--response-length", str(response)]
    where += ["--max-model-len", str(prompt + response), "min_step_tokens=3"]
    chosen = ["--methods", methods] if methods else []
    started, cpu = time.perf_counter(), time.process_time()
    if not vllm:
        from scripts.forecast_engine import BatchedEngine
        from verl_gpo.forecast import run as forecast_run

        # The same forecast with another sampler: the command line names no other engine than vLLM.
        forecast_run.build_engine = lambda asked: BatchedEngine(asked.settings.model, asked.settings.max_model_len)
    if status := run([*OPTIONS, *chosen, *where]):
        return status
    record = json.loads((out / "forecast.json").read_text(encoding="utf-8"))
    record["engine"] = "vllm" if vllm else "transformers"
    record["seconds"], record["cpu_seconds"] = time.perf_counter() - started, time.process_time() - cpu
    FORECASTS.mkdir(parents=True, exist_ok=True)
    (FORECASTS / f"{regime}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out / "step", ignore_errors=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="forecast what has no result yet")
    one.add_argument("--work", type=Path, default=Path("outputs/forecast_check"), help="folder of models and groups")
    one.add_argument("--regimes", help=f"comma-separated, of {', '.join(regimes())}; all if not given")
    one.add_argument("--methods", help="as in verl_gpo.forecast")
    one.add_argument("--vllm", action="store_true", help="sample with vLLM, as verl_gpo.forecast itself does")
    commands.add_parser("page", help="write the table of docs/forecast.md")
    args = parser.parse_args(argv)
    if args.command == "page":
        print(f"{PAGE}: {'written' if write({PAGE: page()}) else 'is up to date'}")
        return 0
    known = regimes()
    wanted = args.regimes.split(",") if args.regimes else list(known)
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"--regimes={','.join(unknown)}: must be of {', '.join(known)}")
    failed = [
        name
        for name in wanted
        if not (FORECASTS / f"{name}.json").exists() and forecast(name, known[name], args.work, args.methods, args.vllm)
    ]
    if failed:
        print(f"verl_gpo: no forecast of {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
