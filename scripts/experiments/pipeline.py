"""Several trainings, one after the other, in one process if they can share it.

    for run, seconds in consecutive([Run("a", "recipes/arithmetic/run.sh", [...], {...}), ...], log): ...

A pipeline is a process with Ray, verl's workers and a rollout engine. Starting one takes about a minute, and trainings
that need the same engine and workers can share it. Each recipe's script is called with ``MAIN`` set to this module, so
that it writes down the arguments of the trainer instead of calling it. :mod:`verl_gpo.plugin.consecutive` then trains
with these arguments, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: The module that trains. Its arguments are a file with the runs, and a file to which it adds those that have ended.
PIPELINE = ("-m", "verl_gpo.plugin.consecutive")


@dataclass(frozen=True)
class Run:
    """One training: a call of a recipe's script, whose last command is ``$PYTHON $MAIN ARGUMENTS``."""

    name: str
    script: str
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


class TrainingFailed(RuntimeError):
    """A training ended before its last step. The message names its log."""


def consecutive(runs: Sequence[Run], log: Path) -> Iterator[tuple[Run, float | TrainingFailed]]:
    """Train all runs in order, except that a run which needs a pipeline of its own comes after the others.

    Args:
        runs: with different names.
        log: all output is appended to this file.

    Yields:
        Each run when it ends, with its seconds or its failure. The seconds of the first run of a pipeline contain the
        start of workers and engine. The next run begins when the generator is asked for it. A failure ends the
        pipeline, and the remaining runs get a new one.

    Raises:
        TrainingFailed: a script ended before it called the trainer.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    waiting = {run.name: run for run in runs}
    with tempfile.TemporaryDirectory(prefix="consecutive_") as folder:
        file, ended = Path(folder) / "runs.json", Path(folder) / "ended.jsonl"
        requests = {run.name: {**asdict(run), "arguments": _training_arguments(run, Path(folder), log)} for run in runs}
        while waiting:
            file.write_text(json.dumps([requests[name] for name in waiting]))
            ended.write_text("")
            with log.open("ab") as output:
                command = [sys.executable, *PIPELINE, str(file), str(ended)]
                # Ray's workers import what a recipe names, and recipes are not installed.
                path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
                environment = {**os.environ, "PYTHONPATH": path}
                process = subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY, env=environment)
            read = 0
            try:
                while True:
                    running = process.poll() is None
                    lines = list(filter(None, ended.read_text().splitlines()))
                    for line in lines[read:]:
                        record = json.loads(line)
                        yield waiting.pop(record["name"]), record["seconds"]
                        with ended.open("a") as reader:
                            reader.write("\n")  # the next run may begin
                    read = len(lines)
                    if not running:
                        break
                    time.sleep(0.2)
            finally:  # the caller wants no further run, or an error came
                if process.poll() is None:
                    process.terminate()
                    process.wait()
            if process.returncode:
                broken = waiting.pop(next(iter(waiting)))
                yield broken, TrainingFailed(f"{broken.name} ended before its last step; the log: {log}")


def prepare(run: Run, log: Path) -> None:
    """Run a script up to its training, so that it makes data and model if they are not there.

    Raises:
        TrainingFailed: the script ended before it called the trainer.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="consecutive_") as folder:
        _training_arguments(run, Path(folder), log)


def _training_arguments(run: Run, folder: Path, log: Path) -> list[str]:
    """The arguments with which the script calls the trainer. Everything else that the script does is done."""
    file = folder / f"{run.name}.arguments"
    settings = {"PYTHON": sys.executable, "MAIN": f"{__file__} {file}", **run.environment}
    with log.open("ab") as output:
        command = ["bash", str(REPOSITORY / run.script), *run.arguments]
        subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **settings}, stdout=output, stderr=output)
    if not file.exists():
        raise TrainingFailed(f"{run.script} did not come to the training of {run.name}; the log: {log}")
    return json.loads(file.read_text())


if __name__ == "__main__":  # called by a script instead of the trainer
    Path(sys.argv[1]).write_text(json.dumps(sys.argv[2:]))
