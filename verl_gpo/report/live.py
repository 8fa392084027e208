"""``python -m verl_gpo.report.live --log L --metrics M --steps N -- COMMAND...``: run a training, show where it is.

verl writes a thousand lines before its first step. They go to the log file. The terminal shows the phases of the
start-up, a bar with the phase of the current step, its rate and the expected end, and a line for each training step.
If the command fails, it shows the end of the log and the exit status.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..traces import phases
from ..traces.runlog import logged
from ..traces.step_line import step_line

READY = "rolling out"
#: Number of training steps over which the rate is averaged.
RECENT = 10
#: Phases of the start-up in verl's log: (part of a line, the phase that begins with it).
PHASES = (
    ("All configuration checks passed", "starting Ray"),
    ("Started a local Ray instance", "starting the trainer"),
    ("Total training steps:", "loading the actor (FSDP)"),
    ("actor and ref model engine initialized", "starting the rollout server (vLLM)"),
    ("ready to fit", READY),
)


def phases_file(metrics: Path) -> Path:
    """The file, next to the metrics file, with the second at which each phase began."""
    return metrics.with_suffix(".phases.json")


class Tail:
    """The lines that were added to a file since the last call."""

    def __init__(self, path: Path):
        self._path = path
        self._offset = 0

    def lines(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._offset:
                self._offset = 0  # the file was started again
            file.seek(self._offset)
            data = file.read()
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        return data[:complete].decode("utf-8", errors="replace").splitlines()


def pace(seconds: Sequence[float], left: int, now: datetime) -> str:
    """Rate and expected end of a training, given the seconds of its steps. The first step counts only if it is alone.

    >>> pace([30.0, 10.0, 14.0], 5, datetime(2030, 1, 1, 12, 0))
    '12.0 s/step, ends 12:01'
    """
    recent = (seconds[1:] or seconds)[-RECENT:]
    if not recent:
        return ""
    rate = sum(recent) / len(recent)
    return f"{rate:.1f} s/step, ends {now + timedelta(seconds=rate * left):%H:%M}"


def run(command: list[str], log: Path, metrics: Path, steps: int, console: Console | None = None) -> int:
    """Run ``command`` to its end and return its exit status."""
    console = console or Console()
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    metrics.parent.mkdir(parents=True, exist_ok=True)
    log_tail, metrics_tail = Tail(log), Tail(metrics)
    metrics_tail.lines()  # skips the lines of earlier trainings, to which a resumed one appends
    startup: dict[str, float] = {}
    taken: list[float] = []
    finished = 0
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="verl_gpo_") as folder,
        log.open("wb") as output,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        bar = progress.add_task("importing verl", total=steps, pace="")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, phases.FOLDER: folder},
        )
        try:
            running = True
            while running:
                running = process.poll() is None
                for line in log_tail.lines():
                    for sign, phase in PHASES:
                        if sign in line:
                            progress.update(bar, description=phase)
                            startup[phase] = time.monotonic() - started
                            console.print(f"{startup[phase]:5.0f} s  {phase}", highlight=False)
                for line in metrics_tail.lines():
                    record = json.loads(line)
                    finished, data = record["step"], logged(record["data"])
                    taken += [data["timing_s/step"]] if "timing_s/step" in data else []
                    rate = pace(taken, steps - finished, datetime.now())
                    progress.update(bar, description="roll out", completed=finished, pace=rate)
                    seconds = time.monotonic() - started
                    line = f"{seconds:5.0f} s  {step_line(finished, data)}"
                    console.print(line, highlight=False, soft_wrap=True)
                step, prompts = phases.read(Path(folder))
                if step > finished:
                    progress.update(bar, description=phases.describe(prompts))
                if running:
                    time.sleep(0.2)
        except BaseException:
            process.terminate()
            raise
    phases_file(metrics).write_text(json.dumps(startup, indent=1) + "\n", encoding="utf-8")
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        reason = [line for line in lines if line.startswith("verl_gpo: ") and "=" in line and "->" not in line]
        console.print(*(reason[-1:] or lines[-25:]), sep="\n", markup=False, highlight=False)
        console.print(f"the training stopped with exit status {process.returncode}; its whole output: {log}")
    return process.returncode


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verl_gpo.report.live", description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="file for the command's output")
    parser.add_argument("--metrics", type=Path, required=True, help="the metrics file that the command writes")
    parser.add_argument("--steps", type=int, required=True, help="training steps that are expected")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the training, after --")
    arguments = parser.parse_args(argv)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("no command after --")
    return run(command, arguments.log, arguments.metrics, arguments.steps)


if __name__ == "__main__":
    sys.exit(main())
