"""Measures the seconds of a GPO training step on the CPU by phase, with verl's engine and with ``verl_gpo.cpu.engine``.

    python -m scripts.bench_cpu_step --model smollm2 --data outputs/smollm2/leg_counting/data --out FILE
    python -m scripts.bench_cpu_step --model arithmetic --data outputs/arithmetic/data --out FILE

An arm is one of the two sides of the comparison: ``before`` with verl's engine, ``after`` with the CPU's. Both run the
recipe's own script with the same seed, in turn, ``--repeats`` times. The first training step of a run is left out if it
has others. The result is added to the file, under the name of the model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from verl_gpo.cpu.detect import bfloat16_units, cores

ROOT = Path(__file__).parents[1]

#: Model -> the script of its recipe, and the environment and arguments of both arms.
RECIPES = {
    "smollm2": ("recipes/smollm2/run.sh", {"PRESET": "fast"}, []),
    "arithmetic": ("recipes/arithmetic/run.sh", {"PRESET": "fast"}, ["algorithm.gpo.rows=matched"]),
}
#: Arm -> environment and arguments. ``before``: verl's engine, which pads rows, computes the forward pass twice and
#: computes the log-probs again.
ARMS = {
    "before": (
        {"VERL_GPO_CPU_ENGINE": "verl"},
        [
            "actor_rollout_ref.model.enable_gradient_checkpointing=true",
            "algorithm.rollout_correction.bypass_mode=false",
            "actor_rollout_ref.actor.calculate_entropy=false",
        ],
    ),
    "after": ({}, []),
}
PHASES = {
    "rolling out": "timing_s/gen",
    "log-probabilities": "timing_s/old_log_prob",
    "update": "timing_s/update_actor",
    "weights to the engine": "timing_s/update_weights",
    "step": "timing_s/step",
}
#: Metrics that show that both arms do the same work with the same precision.
OUTCOMES = (
    "gpo/reward/root",
    "gpo/tokens/root",
    "gpo/tokens/value",
    "perf/total_num_tokens",
    "training/rollout_probs_diff_max",
    "actor/probs_diff/max",
    "actor/grad_norm",
    "actor/pg_loss",
)


def run(model: str, arm: str, data: Path, steps: int, log: Path) -> list[dict[str, float]]:
    """Train, and return the metrics of each training step.

    Args:
        model: a name of `RECIPES`.
        arm: a name of `ARMS`.
        data: folder that the recipe prepared.
        steps: number of training steps.
        log: file to which the output is appended.
    """
    script, environment, settings = RECIPES[model]
    arm_environment, arm_settings = ARMS[arm]
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "metrics.jsonl"
        environment = {**os.environ, **environment, **arm_environment, "PYTHON": sys.executable}
        environment |= {"DATA_DIR": str(data), "OUT_DIR": folder, "VERL_FILE_LOGGER_PATH": str(metrics)}
        always = [f"trainer.total_training_steps={steps}", "trainer.val_before_train=false", "trainer.test_freq=-1"]
        command = ["bash", str(ROOT / script), *always, "trainer.save_freq=-1", *settings, *arm_settings]
        with log.open("ab") as output:
            status = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output).returncode
        if status:
            sys.exit(f"the run {arm} of {model} failed with status {status}; the log: {log}")
        return [json.loads(line)["data"] for line in metrics.read_text().splitlines()]


def load() -> float:
    """The load of the machine: number of processes that ran or waited for a core, mean over the last minute."""
    return os.getloadavg()[0]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median seconds of a step by arm and phase, and the ratio of ``before`` to ``after`` of each phase."""
    seconds: dict[str, dict[str, float]] = {}
    for arm in ARMS:
        steps = [step for item in runs if item["arm"] == arm for step in item["steps"]]
        seconds[arm] = {name: statistics.median(step["seconds"].get(name, 0.0) for step in steps) for name in PHASES}
    ratios = {name: seconds["before"][name] / after for name, after in seconds["after"].items() if after}
    return {"seconds": seconds, "ratio": ratios}


def table(result: dict[str, Any]) -> str:
    """The result of :func:`summary` as text."""
    lines = [f"{'seconds of a step':<24}{'before':>10}{'after':>10}{'ratio':>8}"]
    for name in PHASES:
        before, after = (result["seconds"][arm][name] for arm in ARMS)
        ratio = f"{before / after:8.2f}" if after else f"{'':>8}"
        lines.append(f"{name:<24}{before:>10.1f}{after:>10.1f}{ratio}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=RECIPES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder made by the recipe's prepare.py")
    parser.add_argument("--steps", type=int, default=1, help="training steps of a run")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each arm")
    parser.add_argument("--log", type=Path, default=ROOT / "outputs" / "bench_cpu_step.log")
    parser.add_argument("--out", type=Path, help="add the raw result to this JSON file")
    args = parser.parse_args(argv)
    args.log.parent.mkdir(parents=True, exist_ok=True)
    runs = []
    for repeat in range(args.repeats):
        for arm in ARMS:
            busy = load()
            metrics = run(args.model, arm, args.data.resolve(), args.steps, args.log)
            steps = [
                {
                    "seconds": {name: step[key] for name, key in PHASES.items() if key in step},
                    "outcomes": {key: step[key] for key in OUTCOMES if key in step},
                }
                for step in metrics[1 if len(metrics) > 1 else 0 :]
            ]
            runs.append({"arm": arm, "repeat": repeat, "load_before": busy, "load_after": load(), "steps": steps})
            print(f"{args.model} {arm}: {[round(step['seconds']['step'], 1) for step in steps]} s", flush=True)
    result = {"machine": machine(), **summary(runs), "runs": runs}
    print(table(result))
    if args.out:
        everything = json.loads(args.out.read_text()) if args.out.exists() else {}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({**everything, args.model: result}, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """The model of the processor, its number of cores, and its units for bfloat16."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.processor(), "cores": cores(), "bfloat16": list(bfloat16_units())}


if __name__ == "__main__":
    main()
