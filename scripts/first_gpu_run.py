"""Runs the doctor, and the smallest recipe with GPO and as its plain twin, within a time limit; writes their figures.

``scripts/first_gpu_run.sh`` makes the environment and starts this.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.first_gpu_figures import figures
from verl_gpo.cpu.detect import accelerator_present

ROOT = Path(__file__).parents[1]
MODEL = "Qwen2.5-0.5B-Instruct"
METHODS = ("gpo", "plain")


@dataclass
class Phases:
    """Commands that share a time limit.

    Attributes:
        limit: seconds for all of them.
        spent: seconds that were used before the first one.
        taken: ``{phase: {"seconds": ..., "status": ...}}``; the status is None if the time was up.
    """

    limit: float
    spent: float = 0.0
    taken: dict[str, dict] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds that are left; below 0 if the time is up."""
        return self.limit - self.spent - (time.monotonic() - self._start)

    def run(self, name: str, command: Sequence[str], output: Path | None = None, **environment: str) -> bool:
        """Run a command, and end it with its child processes if the time is up.

        Args:
            name: of the phase.
            command: with its arguments.
            output: file for its standard output; None to print it.
            environment: variables that are added to this process's.

        Returns:
            Whether the exit status is 0.
        """
        left, start = self.left(), time.monotonic()
        print(f"\n==> {name} ({max(0, left):.0f} s left)", flush=True)
        status = _run(command, left, output, environment) if left > 1 else None
        self.taken[name] = {"seconds": round(time.monotonic() - start, 1), "status": status}
        if status != 0:
            print(f"{name}: {'the time was up' if status is None else f'status {status}'}", flush=True)
        return status == 0


def _run(command: Sequence[str], limit: float, output: Path | None, environment: Mapping[str, str]) -> int | None:
    with open(output or os.devnull, "wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file if output else None,
            env={**os.environ, **environment},
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:  # the group has its child processes too
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def settings(args: argparse.Namespace) -> list[str]:
    """The arguments of verl that both runs get."""
    given = [
        "data.train_batch_size=32",
        "actor_rollout_ref.actor.ppo_mini_batch_size=32",
        "actor_rollout_ref.rollout.agent.num_workers=2",
        "reward.num_workers=2",
        # A machine with one GPU may have few CPUs, and verl would wait forever for more of them (verl #7656).
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        f"trainer.total_training_steps={args.steps}",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]
    if args.toy:
        return given
    given += ["data.train_max_samples=512", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=8192"]
    given += ["actor_rollout_ref.rollout.max_num_seqs=512"]
    gib = _gpu_gib()
    return [*given, f"recipe.gpu_gb={gib:.0f}"] if gib else given


def _gpu_gib() -> float | None:
    """Memory of the first GPU in GiB, for the plan; None without a GPU."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(lines[0]) / 1024 if lines and lines[0].isdigit() else None


def plan_command(args: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the plan of the run with GPO."""
    if not args.toy:
        return ["bash", "recipes/math/run.sh", *settings(args)], {**_recipe(args), "DRY_RUN": "1"}
    data = Path(_recipe(args)["DATA_DIR"])
    folder = ["--config-path", "recipes/arithmetic/config", "--config-name", "arithmetic"]
    files = [f"data.train_files={data}/train.parquet", f"data.val_files={data}/test.parquet"]
    model = f"actor_rollout_ref.model.path={data}/model"
    return [sys.executable, "-m", "verl_gpo.plan", *folder, *files, model, *settings(args)], {}


def train_command(args: argparse.Namespace, method: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a training; ``method`` is ``gpo`` or ``plain``."""
    script = "recipes/arithmetic/run.sh" if args.toy else "recipes/math/run.sh"
    out = args.out / method
    live = ["-m", "verl_gpo.report.live", "--log", f"{out}/train.log", "--metrics", f"{out}/metrics.jsonl"]
    command = [sys.executable, *live, "--steps", str(args.steps), "--", "bash", script, *settings(args)]
    environment = {**_recipe(args), "METHOD": method, "OUT_DIR": str(out)}
    if method == "plain" and not args.toy:
        environment["MEASURED"] = str(args.out / "gpo" / "metrics.jsonl")  # equal tokens
    return command, environment


def _recipe(args: argparse.Namespace) -> dict[str, str]:
    """The variables that the recipe's script reads."""
    shared = {"PYTHON": sys.executable, "N_GPUS": "1", "HF_HUB_OFFLINE": "1"}
    if args.toy:
        return {**shared, "DATA_DIR": str(ROOT / "outputs" / "arithmetic" / "data")}
    if args.folder:
        return {**shared, "MODEL": str(args.folder / MODEL), "DATA_DIR": str(args.folder)}
    return shared


def missing(args: argparse.Namespace) -> str | None:
    """What is missing for the run, in one line; None if nothing is."""
    if args.toy or args.dry_run:
        return None
    if not args.folder:
        return "FOLDER: must be set to the folder with model and data; --toy and --dry-run need none"
    for path in (f"{MODEL}/config.json", "gsm8k/train.parquet"):
        if not (args.folder / path).exists():
            return f"FOLDER={args.folder}: has no {path}; 'bash scripts/first_gpu_run.sh fetch {args.folder}' makes it"
    if not accelerator_present():
        return "no accelerator on this machine; --toy trains the arithmetic task on the CPU"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bash scripts/first_gpu_run.sh", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--folder",
        type=lambda text: Path(text).absolute() if text else None,
        help="folder with model, data and wheels; see the script",
    )
    parser.add_argument("--out", type=lambda text: Path(text).absolute(), default=ROOT / "outputs" / "first_gpu_run")
    parser.add_argument("--steps", type=int, default=3, help="training steps of each run")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which everything is ended")
    parser.add_argument("--spent", type=float, default=0, help="seconds of the limit that the installation took")
    parser.add_argument(
        "--toy", action="store_true", help="train the arithmetic task, which needs no FOLDER and no GPU"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be started, and the plan")
    return parser


def dry_run(args: argparse.Namespace) -> int:
    """Print the commands, and the plan of the run with GPO."""
    print(f"within {args.limit:.0f} s, written to {args.out}/figures.json:")
    print(f"  {sys.executable} -m verl_gpo.doctor --run --json")
    for method in METHODS:
        command, environment = train_command(args, method)
        print("  env", shlex.join([f"{name}={value}" for name, value in environment.items()] + command))
    print("the plan of the run with GPO:\n", flush=True)
    command, environment = plan_command(args)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}).returncode


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    said = missing(args)
    if said:
        print(f"first_gpu_run: {said}", file=sys.stderr)
        return 2
    if args.dry_run:
        return dry_run(args)
    args.out.mkdir(parents=True, exist_ok=True)
    phases = Phases(args.limit, args.spent)
    phases.taken["environment"] = {"seconds": args.spent, "status": 0}
    doctor, plan = args.out / "doctor.json", args.out / "plan.json"
    watch = _watch_memory(args.out / "gpu-memory")
    try:
        well = phases.run("doctor", [sys.executable, "-m", "verl_gpo.doctor", "--run", "--json"], doctor)
        if well:
            for method in METHODS:
                command, environment = train_command(args, method)
                well = phases.run(method, command, None, **environment) and well
            command, environment = plan_command(args)
            well = phases.run("plan", [*command, "--json"], plan, **environment) and well
    finally:
        if watch:
            watch.terminate()
        found = figures(args.out, phases.taken)
        path = args.out / "figures.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{json.dumps(found, indent=1)}\n{path}")
    return 0 if well else 1


def _watch_memory(path: Path) -> subprocess.Popen | None:
    """Write the memory in use on each GPU to a file, in MiB, once a second. verl reports that of the actor only."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--loop=1"]
    try:
        with path.open("wb") as file:
            return subprocess.Popen(query, stdout=file, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
