"""Every optimizer x {plain, random, gpo} x seeds on the arithmetic task: each cell trains and evaluates, then a table.

    python scripts/matrix.py --out outputs/matrix                                # all, three seeds
    python scripts/matrix.py --out outputs/matrix --algos dpo,kto --seeds 0      # some
    python scripts/matrix.py --out outputs/matrix --publish                      # nothing; docs/matrix.md of its rows

A cell is one call of ``recipes/arithmetic/run.sh`` (online) or ``offline.sh``. Its row is kept in ``OUT/rows``: called
again, the command goes on where it stopped. The offline optimizers share the pairs of a method and a seed, the online
ones a pipeline (:mod:`scripts.consecutive`); all models are evaluated in this process, which spares an engine for each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "scripts" / "results" / "matrix.json"
PAGE = REPOSITORY / "docs" / "matrix.md"
sys.path.insert(0, str(REPOSITORY))

from scripts.consecutive import TrainingFailed, consecutive  # noqa: E402
from scripts.matrix_table import markdown  # noqa: E402
from scripts.pages import fill, write  # noqa: E402
from scripts.recipe_runs import Training, evaluate  # noqa: E402
from verl_gpo.inference.fingerprint import difference  # noqa: E402
from verl_gpo.inference.jsonl import replace  # noqa: E402
from verl_gpo.statistics import bootstrap_interval  # noqa: E402
from verl_gpo.traces.runlog import generated_tokens  # noqa: E402

RECIPE = REPOSITORY / "recipes" / "arithmetic"
#: Optimizers of ``run.sh``; to add one, add its name.
ONLINE = ("ppo", "grpo", "drgrpo", "rloo", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "dapo", "gspo")
#: Optimizers of ``offline.sh``.
OFFLINE = ("dpo", "kto", "simpo", "orpo")
METHODS = ("plain", "random", "gpo")


@dataclass(frozen=True)
class Cell:
    """One training."""

    algo: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.algo}-{self.method}-{self.seed}"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the matrix; called again, it goes on")
    parser.add_argument("--data-dir", type=Path, default=Path("outputs/arithmetic/data"), help="task and model")
    parser.add_argument("--algos", default=",".join(ONLINE + OFFLINE), help="comma-separated")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--steps", type=int, default=6, help="training steps of an online cell")
    parser.add_argument("--prompts", type=int, default=8, help="prompts of a training step of an online cell")
    parser.add_argument("--tokens", type=int, default=150_000, help="tokens that an offline cell may generate")
    parser.add_argument("--offline-steps", type=int, default=40, help="optimizer steps of an offline cell")
    parser.add_argument("--samples", type=int, default=4, help="of each problem, in the evaluation")
    parser.add_argument("--table", action="store_true", help="run nothing; write the table of the rows that are there")
    parser.add_argument("--publish", action="store_true", help="likewise, into scripts/results and docs/matrix.md")
    args = parser.parse_args(argv)
    args.table |= args.publish
    for option, known in (("algos", ONLINE + OFFLINE), ("methods", METHODS)):
        names = getattr(args, option).split(",")
        for name in names:
            if name not in known:
                parser.error(f"--{option}={name}: must be of {', '.join(known)}")
        setattr(args, option, names)
    try:
        args.seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds={args.seeds}: must be integers, comma-separated")
    for option in ("steps", "prompts", "tokens", "offline_steps", "samples"):
        if getattr(args, option) < 1:
            parser.error(f"--{option.replace('_', '-')}={getattr(args, option)}: must be at least 1")
    return args


def settings_of(cell: Cell, args: argparse.Namespace) -> dict[str, int]:
    """What a row depends on besides its cell."""
    if cell.algo in OFFLINE:
        return {"tokens": args.tokens, "optimizer_steps": args.offline_steps, "samples": args.samples}
    return {"training_steps": args.steps, "prompts": args.prompts, "samples": args.samples}


def run(script: str, log: Path, arguments: Sequence[str] = (), **environment: Any) -> float:
    """Run a script of the recipe with its output in a log. Returns the seconds it took.

    Raises:
        RuntimeError: it failed; the message ends with the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    settings = {"PYTHON": sys.executable, **{key: str(value) for key, value in environment.items()}}
    began = time.perf_counter()
    with log.open("wb") as output:
        status = subprocess.run(
            ["bash", str(RECIPE / script), *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    if status:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{script} ended with status {status}; its log, {log}, ends:\n{end}")
    return time.perf_counter() - began


def offline_cell(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Pairs, where no other optimizer made them already; training; evaluation."""
    pairs, model = args.out / f"pairs-{cell.method}-{cell.seed}", args.out / "models" / cell.name
    common = {
        "ALGO": cell.algo,
        "METHOD": cell.method,
        "SEED": cell.seed,
        "TOKENS": args.tokens,
        "STEPS": args.offline_steps,
        "DATA_DIR": args.data_dir.resolve(),
        "PAIRS_DIR": pairs,
        "OUT_DIR": model,
    }
    timed = pairs / "seconds.json"
    if not timed.exists():
        seconds = run(
            "offline.sh", args.out / "logs" / f"pairs-{cell.method}-{cell.seed}.log", STAGES="pairs", **common
        )
        timed.write_text(json.dumps(seconds))
    report = json.loads((pairs / "report.json").read_text())
    # A training that broke off after its result, and before its row, is not repeated.
    if not (model / "train.json").exists():
        run("offline.sh", args.out / "logs" / f"{cell.name}.log", STAGES="train", **common)
    trained = json.loads((model / "train.json").read_text())
    return {
        "accuracies": evaluate(model, args.data_dir, args.samples, cell.seed).accuracies,
        "tokens": report["tokens"]["total"],
        "rows": trained["optimizer_steps"] * trained["batch_size"],
        "optimizer_steps": trained["optimizer_steps"],
        "seconds": json.loads(timed.read_text()) + trained["seconds"],
        "pairs": report["pairs"],
        "prompts": report["prompts"],
    }


def online_training(cell: Cell, args: argparse.Namespace) -> Training:
    """The training with verl that a cell stands for."""
    return Training(
        name=cell.name,
        algo=cell.algo,
        method=cell.method,
        seed=cell.seed,
        steps=args.steps,
        save_every=args.steps,
        data=args.data_dir,
        out=args.out / "runs" / cell.name,
        overrides=[
            f"data.train_batch_size={args.prompts}",
            f"actor_rollout_ref.actor.ppo_mini_batch_size={args.prompts}",
            f"critic.ppo_mini_batch_size={args.prompts}",
        ],
    )


def online_result(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """What a training with verl cost, and how good its weights are."""
    training = online_training(cell, args)
    log = training.log()
    return {
        "accuracies": evaluate(training.weights(args.steps), args.data_dir, args.samples, cell.seed).accuracies,
        "tokens": sum(generated_tokens(metrics) for metrics in log.steps.values()),
        "rows": log.total("gpo/rows"),
        "optimizer_steps": log.total("gpo/optimizer_steps"),
        "seconds": log.total("timing_s/step"),
    }


def row_of(cell: Cell, args: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """A cell's row: its result, with accuracy and interval."""
    (low,), (high,) = bootstrap_interval(np.array(result["accuracies"]))
    accuracy = float(np.mean(result["accuracies"]))
    return {
        "algo": cell.algo,
        "method": cell.method,
        "seed": cell.seed,
        "settings": settings_of(cell, args),
        "accuracy": accuracy,
        "low": float(low),
        "high": float(high),
        **result,
    }


def results(cells: Sequence[Cell], args: argparse.Namespace) -> Iterator[tuple[Cell, dict[str, Any] | RuntimeError]]:
    """Run cells, and yield each with its result or its failure as it ends: first those offline, then those online."""
    for cell in cells:
        if cell.algo in OFFLINE:
            print(f"{cell.name} ...", flush=True)
            try:
                yield cell, offline_cell(cell, args)
            except RuntimeError as error:
                yield cell, error
    online = {cell.name: cell for cell in cells if cell.algo in ONLINE}
    runs = [online_training(cell, args).run() for cell in online.values()]
    for run, outcome in consecutive(runs, args.out / "logs" / "online.log"):
        cell = online[run.name]
        yield cell, outcome if isinstance(outcome, TrainingFailed) else online_result(cell, args)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    args.out = args.out.resolve()
    # Seed by seed, so that what is there is complete for some seeds; an algorithm's methods next to each other.
    cells = [Cell(a, m, s) for s in args.seeds for a in args.algos for m in args.methods]
    waiting = []
    for cell in cells:
        path = row_file(cell, args)
        if not path.exists():
            waiting.append(cell)
        elif not args.table and (
            differing := difference(json.loads(path.read_text())["settings"], settings_of(cell, args))
        ):
            print(f"--out={args.out}: {path.name} has other settings: {differing}", file=sys.stderr)
            return 1
    failed = []
    for cell, result in results([] if args.table else waiting, args):
        if isinstance(result, RuntimeError):
            print(f"{cell.name} failed: {result}", file=sys.stderr)
            failed.append(cell.name)
            continue
        row = row_of(cell, args, result)
        replace(row_file(cell, args), [json.dumps(row) + "\n"])
        print(f"{cell.name}: accuracy {row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]", flush=True)
    rows = [json.loads(path.read_text()) for path in sorted((args.out / "rows").glob("*.json"))]
    if rows:
        table = markdown(rows)
        replace(args.out / "table.md", [table + "\n"])
        print(table)
        if args.publish:
            replace(RESULTS, ["[\n", ",\n".join(json.dumps(row) for row in rows), "\n]\n"])
            write({PAGE: page(rows)})
    if failed:
        print(f"{len(failed)} cells failed: {', '.join(failed)}; call again to repeat them", file=sys.stderr)
    return 1 if failed else 0


def page(rows: Sequence[dict[str, Any]]) -> str:
    """``docs/matrix.md`` with the table of the rows."""
    return fill(PAGE.read_text(encoding="utf-8"), "matrix", {"table": markdown(rows)})


def row_file(cell: Cell, args: argparse.Namespace) -> Path:
    return args.out / "rows" / f"{cell.name}.json"


if __name__ == "__main__":
    sys.exit(main())
