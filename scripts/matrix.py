"""Every optimizer x {plain, random, gpo} x seeds on the arithmetic task: each cell trains and evaluates, then a table.

    python scripts/matrix.py --out outputs/matrix                                # all, three seeds
    python scripts/matrix.py --out outputs/matrix --algos dpo,kto --seeds 0      # some

A cell is one call of ``recipes/arithmetic/run.sh`` (online) or ``offline.sh``. Its row is kept in ``OUT/rows``: called
again, the command goes on where it stopped. The offline optimizers share the pairs of a method and a seed, and their
models are evaluated in this process, which spares an engine for each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from scripts.matrix_table import markdown  # noqa: E402
from verl_gpo.evaluation.statistics import avg_at_k, bootstrap_interval  # noqa: E402
from verl_gpo.offline.fingerprint import difference  # noqa: E402
from verl_gpo.offline.jsonl import replace  # noqa: E402
from verl_gpo.report.runlog import RunLog, generated_tokens  # noqa: E402

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
    parser.add_argument("--steps", type=int, default=8, help="training steps of an online cell")
    parser.add_argument("--tokens", type=int, default=150_000, help="tokens that an offline cell may generate")
    parser.add_argument("--offline-steps", type=int, default=40, help="optimizer steps of an offline cell")
    parser.add_argument("--samples", type=int, default=4, help="of each problem, in the evaluation")
    parser.add_argument("--table", action="store_true", help="run nothing; write the table of the rows that are there")
    args = parser.parse_args(argv)
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
    for option in ("steps", "tokens", "offline_steps", "samples"):
        if getattr(args, option) < 1:
            parser.error(f"--{option.replace('_', '-')}={getattr(args, option)}: must be at least 1")
    return args


def settings_of(cell: Cell, args: argparse.Namespace) -> dict[str, int]:
    """What a row depends on besides its cell."""
    if cell.algo in OFFLINE:
        return {"tokens": args.tokens, "optimizer_steps": args.offline_steps, "samples": args.samples}
    return {"training_steps": args.steps, "samples": args.samples}


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
        "accuracies": evaluated(model, args.data_dir, args.samples, cell.seed),
        "tokens": report["tokens"]["total"],
        "rows": trained["optimizer_steps"] * trained["batch_size"],
        "optimizer_steps": trained["optimizer_steps"],
        "seconds": json.loads(timed.read_text()) + trained["seconds"],
        "pairs": report["pairs"],
        "prompts": report["prompts"],
    }


def evaluated(model: Path, data: Path, samples: int, seed: int) -> list[float]:
    """Accuracy of each held-out problem, sampled at temperature 1."""
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.arithmetic.reward import compute_score
    from recipes.arithmetic.task import parse_problem
    from recipes.arithmetic.warmstart import respond

    rows = pq.read_table(data / "test.parquet").to_pylist()
    problems = [parse_problem(row["prompt"][0]["content"]) for row in rows]
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = respond(network, tokenizer, [problem for problem in problems for _ in range(samples)])
    answers = [problem.answer for problem in problems for _ in range(samples)]
    scores = [compute_score("", text, answer)["score"] for text, answer in zip(texts, answers, strict=True)]
    return avg_at_k(np.array(scores).reshape(len(problems), samples)).tolist()


def online_cell(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """A training with verl, and its last validation."""
    out = args.out / "runs" / cell.name
    run(
        "run.sh",
        args.out / "logs" / f"{cell.name}.log",
        [
            f"trainer.total_training_steps={args.steps}",
            f"trainer.test_freq={args.steps}",
            "trainer.val_before_train=false",
            "trainer.save_freq=-1",
            "trainer.resume_mode=disable",
            f"trainer.validation_data_dir={out / 'validation'}",
            f"actor_rollout_ref.rollout.val_kwargs.n={args.samples}",
            f"data.seed={cell.seed}",
            f"actor_rollout_ref.rollout.seed={cell.seed}",
            f"algorithm.gpo.seed={cell.seed}",
        ],
        ALGO=cell.algo,
        METHOD=cell.method,
        DATA_DIR=args.data_dir.resolve(),
        OUT_DIR=out,
        VERL_FILE_LOGGER_PATH=out / "metrics.jsonl",
    )
    log = RunLog.read(out / "metrics.jsonl")
    by_problem: dict[str, list[float]] = {}
    for line in (out / "validation" / f"{args.steps}.jsonl").read_text().splitlines():
        sample = json.loads(line)
        by_problem.setdefault(sample["input"], []).append(float(sample["acc"]))
    return {
        "accuracies": [sum(scores) / len(scores) for _, scores in sorted(by_problem.items())],
        "tokens": sum(generated_tokens(metrics) for metrics in log.steps.values()),
        "rows": log.total("gpo/rows"),
        "optimizer_steps": log.total("gpo/optimizer_steps"),
        "seconds": log.total("timing_s/step"),
    }


def row_of(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Run a cell, and give it accuracy and interval."""
    result = (offline_cell if cell.algo in OFFLINE else online_cell)(cell, args)
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


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    args.out = args.out.resolve()
    # Seed by seed, so that what is there is complete for some seeds; an algorithm's methods next to each other.
    cells = [Cell(a, m, s) for s in args.seeds for a in args.algos for m in args.methods]
    failed = []
    for number, cell in enumerate(cells, start=1):
        path = args.out / "rows" / f"{cell.name}.json"
        if path.exists():
            differing = difference(json.loads(path.read_text())["settings"], settings_of(cell, args))
            if differing and not args.table:
                print(f"--out={args.out}: {path.name} has other settings: {differing}", file=sys.stderr)
                return 1
            continue
        if args.table:
            continue
        print(f"[{number}/{len(cells)}] {cell.name}", flush=True)
        try:
            row = row_of(cell, args)
        except RuntimeError as error:
            print(f"{cell.name} failed: {error}", file=sys.stderr)
            failed.append(cell.name)
            continue
        replace(path, [json.dumps(row) + "\n"])
        print(f"    accuracy {row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]", flush=True)
    rows = [json.loads(path.read_text()) for path in sorted((args.out / "rows").glob("*.json"))]
    if rows:
        table = markdown(rows)
        replace(args.out / "table.md", [table + "\n"])
        print(table)
    if failed:
        print(f"{len(failed)} cells failed: {', '.join(failed)}; call again to repeat them", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
