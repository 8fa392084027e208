"""A grid of trainings, method x regime x seed, on the real pipeline; raw rows that evidence is made of.

    python scripts/experiment.py scripts/experiments/tokens.yaml
    python scripts/experiment.py scripts/experiments/tokens.yaml --regimes late12 --seeds 0

The YAML names the grid, its regimes (problems), its methods and its seeds. A finished run is a row of ``runs.csv`` and
its evaluations are rows of ``evaluations.csv``: called again, the command runs what is missing. Runs of a regime share
a pipeline (:mod:`scripts.consecutive`). ``scripts/evidence.py`` makes tables, tests and figures of the rows.
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from scripts.consecutive import TrainingFailed, consecutive, prepare  # noqa: E402
from scripts.evidence_rows import EVALUATIONS, RUNS, Point, Run, check_start, read_results  # noqa: E402
from scripts.experiment_grid import Grid, read_grid, training  # noqa: E402
from scripts.recipe_runs import Evaluation, Training, distance, evaluate  # noqa: E402
from verl_gpo.statistics import bootstrap_interval  # noqa: E402
from verl_gpo.traces.runlog import RunLog, generated_tokens  # noqa: E402

#: Columns of ``runs.csv`` and the metric that each is the sum of.
SUMS = {
    "tokens_root": "gpo/tokens/root",
    "tokens_value": "gpo/tokens/value",
    "tokens_reenter": "gpo/tokens/reenter",
    "requests_value": "gpo/requests/value",
    "requests_reenter": "gpo/requests/reenter",
    "rows": "gpo/rows",
    "optimizer_steps": "gpo/optimizer_steps",
    "seconds_gen": "timing_s/gen",
    "seconds_old_log_prob": "timing_s/old_log_prob",
    "seconds_update_actor": "timing_s/update_actor",
    "seconds_update_critic": "timing_s/update_critic",
    "seconds_update_weights": "timing_s/update_weights",
}


def step_seconds(metrics: Mapping[str, Any]) -> float:
    """Seconds of a training step, without what only the experiment asks for."""
    return float(metrics["timing_s/step"]) - float(metrics.get("timing_s/save_checkpoint", 0.0))


@functools.cache  # runs of a seed start from one model
def _evaluate_start(*arguments: Any) -> Evaluation:
    return evaluate(*arguments)


def evaluations(grid: Grid, key: Mapping[str, Any], trained: Training, log: RunLog) -> list[Point]:
    """The run's evaluations, the model that it started from included."""
    points = []
    spent = {"tokens": 0.0, "rows": 0.0, "optimizer_steps": 0.0, "seconds": 0.0}
    for step in range(grid.training_steps + 1):
        if step:
            metrics = log.steps[step]
            spent["tokens"] += generated_tokens(metrics)
            spent["rows"] += metrics["gpo/rows"]
            spent["optimizer_steps"] += metrics["gpo/optimizer_steps"]
            spent["seconds"] += step_seconds(metrics)
        if step % grid.evaluate_every == 0:
            measure = evaluate if step else _evaluate_start
            found = measure(trained.weights(step), trained.data, grid.samples, key["seed"])
            by_problem = np.array(found.accuracies)
            (low,), (high,) = bootstrap_interval(by_problem)
            result = {"accuracy": float(by_problem.mean()), "low": float(low), "high": float(high)}
            result |= {"easy_step": found.easy_step, "hard_step": found.hard_step}
            result |= {"problems": len(by_problem), "samples": grid.samples}
            moved = distance(trained.weights(step), trained.weights(0))
            points.append(Point(**key, training_step=step, **spent, **result, distance=moved))
    return points


def check_starts(results: Path, log: Path, cells: Iterable[tuple[Mapping[str, Any], Training]], samples: int) -> None:
    """Before anything is trained: runs start from the model that the runs to compare them with started from.

    Raises:
        ValueError: they would not (:func:`scripts.evidence_rows.check_start`).
    """
    runs = read_results(results)
    first = {(key["regime"], key["seed"]): cell for key, cell in reversed(list(cells))}
    prepared: set[Path] = set()
    for regime, seed in sorted({(run.regime, run.seed) for run in runs} & set(first)):
        cell = first[regime, seed]
        if cell.data not in prepared:  # seeds of a regime share its folder
            prepare(cell.run(), log)
            prepared.add(cell.data)
        found = _evaluate_start(cell.weights(0), cell.data, samples, seed)
        check_start(results, runs, regime, seed, float(np.mean(found.accuracies)))


def row(grid: Grid, key: Mapping[str, Any], log: RunLog, points: Sequence[Point], commit: str) -> Run:
    """What a run was, cost and reached."""
    import torch

    how = grid.methods[key["method"]]
    steps = log.steps.values()

    def share(name: str) -> float | None:
        values = [metrics[name] for metrics in steps if name in metrics]
        return float(np.mean(values)) if values else None

    sums: dict[str, float | None] = {column: log.total(metric) for column, metric in SUMS.items()}
    if not log.series(SUMS["seconds_update_critic"]):
        sums["seconds_update_critic"] = None
    judged = [m for m in steps if "gpo/critical/given" in m]  # critical steps that the task can tell right from wrong
    return Run(
        **key,
        training_steps=grid.training_steps,
        learning_rate=how.learning_rate,
        prompts=how.regime_prompts.get(key["regime"], how.prompts),
        commit=commit,
        cores=os.cpu_count() or 1,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
        **sums,
        seconds=sum(step_seconds(metrics) for metrics in steps),
        root_mixed=share("gpo/mixed/root"),
        branch_mixed=share("gpo/mixed/branch"),
        hits=sum(round(m["gpo/critical/given"] * m["gpo/critical/found"]) for m in judged) if judged else None,
        chosen=sum(m["gpo/critical/found"] for m in judged) if judged else None,
        accuracy=points[-1].accuracy,
        low=points[-1].low,
        high=points[-1].high,
    )


def cpu_name(information: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor, ``cpu`` where the system does not say: seconds of two models are not compared."""
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "") or "cpu"


def append(file: Path, rows: Iterable[Run | Point], kind: type) -> None:
    """Write rows at the end of a CSV file, in one write: a run is there with all its rows or not at all."""
    names = [column.name for column in fields(kind) if column.default is MISSING]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, names, extrasaction="ignore", lineterminator="\n")
        if file.stat().st_size == 0:
            writer.writeheader()
        writer.writerows({name: _text(getattr(one, name)) for name in names} for one in rows)


def _text(value: Any) -> Any:
    return (
        f"{value:.6g}"
        if isinstance(value, float) and value != int(value)
        else int(value)
        if isinstance(value, float)
        else value
    )


def finished(file: Path) -> set[tuple[str, str, str, int]]:
    """Keys of the runs that have a row."""
    if not file.exists():
        return set()
    with file.open(newline="", encoding="utf-8") as lines:
        return {(row["grid"], row["regime"], row["method"], int(row["seed"])) for row in csv.DictReader(lines)}


def this_commit() -> str:
    """The commit, with ``+`` where the working tree differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "verl_gpo", "recipes")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("grid", type=Path, help="YAML file")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "scripts" / "results" / "evidence")
    parser.add_argument("--work", type=Path, default=Path("outputs/experiment"), help="folder of models and logs")
    for name in ("regimes", "methods", "seeds"):
        parser.add_argument(f"--{name}", help=f"comma-separated, of the grid's {name}; all if not given")
    parser.add_argument("--list", action="store_true", help="only say which runs are missing")
    args = parser.parse_args(argv)
    try:
        args.grid = read_grid(args.grid)
    except ValueError as error:
        parser.error(str(error))
    for name in ("regimes", "methods", "seeds"):
        known = [str(value) for value in getattr(args.grid, name)]
        chosen = getattr(args, name).split(",") if getattr(args, name) else known
        if unknown := [value for value in chosen if value not in known]:
            parser.error(f"--{name}={','.join(unknown)}: must be of {', '.join(known)}")
        setattr(args, name, chosen)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    grid: Grid = args.grid
    done = finished(args.results / RUNS)
    # Seed by seed, so that what is there is complete for some seeds.
    keys = [
        {"grid": grid.grid, "regime": regime, "method": method, "seed": int(seed)}
        for regime in args.regimes
        for seed in args.seeds
        for method in args.methods
    ]
    missing = {}
    for key in keys:
        if tuple(key.values()) not in done:
            cell = training(grid, key["regime"], key["method"], key["seed"], args.work.resolve())
            missing[cell.name] = (key, cell)
    print(f"{len(missing)} of {len(keys)} runs are missing", flush=True)
    if args.list:
        print("\n".join(missing))
        return 0
    try:
        check_starts(args.results, args.work.resolve() / "log", missing.values(), grid.samples)
    except (ValueError, TrainingFailed) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    commit, failed = this_commit(), 0
    runs = [cell.run() for _, cell in missing.values()]
    for run, outcome in consecutive(runs, args.work.resolve() / "log"):
        key, cell = missing[run.name]
        if isinstance(outcome, TrainingFailed):
            print(outcome, file=sys.stderr)
            failed += 1
            continue
        log = cell.log()
        points = evaluations(grid, key, cell, log)
        append(args.results / EVALUATIONS, points, Point)
        append(args.results / RUNS, [row(grid, key, log, points, commit)], Run)
        print(
            f"{run.name}: accuracy {points[0].accuracy:.3f} to {points[-1].accuracy:.3f}, {outcome:.0f} s", flush=True
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
