"""Measures the seconds from the start of the trainer until it is ready to train.

    python -m scripts.bench_startup --data outputs/arithmetic/data --out scripts/results/bench_startup.json

Runs one training step of the arithmetic recipe twice: with Ray's workers forked from one process, and with each worker
started by itself. Prints both times and their ratio. If the recipe has run before, its files are in the page cache.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from verl_gpo.report import live

ROOT = Path(__file__).parents[1]
#: With any ``py_executable``, workers are not forked (verl_gpo/cpu/zygote.py).
ARMS = {"forked": [], "started": [f"ray_kwargs.ray_init.runtime_env.py_executable={sys.executable}"]}


def measure(name: str, overrides: list[str], data: Path) -> dict[str, float]:
    """Run one training step. Returns the second at which each phase began."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "metrics.jsonl"
        os.environ.update(PYTHON=sys.executable, DATA_DIR=str(data), OUT_DIR=folder, VERL_FILE_LOGGER_PATH=str(metrics))
        settings = ["trainer.total_training_steps=1", "trainer.val_before_train=false", "trainer.test_freq=-1"]
        command = ["bash", str(ROOT / "recipes/arithmetic/run.sh"), *settings, *overrides]
        console = Console(stderr=True)
        console.print(f"workers {name}")
        if live.run(command, Path(folder) / "train.log", metrics, steps=1, console=console):
            sys.exit(f"the run with workers {name} failed")
        return json.loads(live.phases_file(metrics).read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder made by recipes/arithmetic/prepare.py")
    parser.add_argument("--out", type=Path, help="write the raw result to this JSON file")
    arguments = parser.parse_args()
    phases = {name: measure(name, overrides, arguments.data.resolve()) for name, overrides in ARMS.items()}
    ready = {name: seconds[live.READY] for name, seconds in phases.items()}
    result = {"cores": os.cpu_count(), "ready_to_fit_seconds": ready, "phases": phases}
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, seconds in ready.items():
        print(f"workers {name:<8} {seconds:6.1f} s   {seconds / ready['started']:.2f}")


if __name__ == "__main__":
    main()
