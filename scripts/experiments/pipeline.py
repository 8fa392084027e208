"""Trainings one after the other, as few pipelines as they fit into: what starts them and waits for them.

    for run, seconds in consecutive([Run("a", "recipes/arithmetic/run.sh", [...], {...}), ...], log): ...

A recipe's script says what it would train with (``MAIN`` is this module instead of verl's), and
:mod:`verl_gpo.plugin.consecutive` trains it, in a process of its own. Trainings that need another engine or other
workers get another pipeline.
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
#: What trains: called with a file of runs and one to which the ended ones are added.
PIPELINE = ("-m", "verl_gpo.plugin.consecutive")


@dataclass(frozen=True)
class Run:
    """One training: a call of a recipe's script that ends in ``$PYTHON $MAIN ARGUMENTS``."""

    name: str
    script: str
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


class TrainingFailed(RuntimeError):
    """A training ended before its last step; the message says where the log is."""


def consecutive(runs: Sequence[Run], log: Path) -> Iterator[tuple[Run, float | TrainingFailed]]:
    """Train all of them, in order, but for those that have to wait for a pipeline of their own.

    Args:
        runs: with different names.
        log: all output is appended to it.

    Yields:
        Each run as it ends, with its seconds from the end of the one before it (the first run of a pipeline: from
        the start of the pipeline), or with the failure. A failure ends the pipeline; the others get another one.

    Raises:
        TrainingFailed: no arguments came of a script.
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
                process = subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY)
            read = 0
            while True:
                running = process.poll() is None
                lines = ended.read_text().splitlines()
                for line in lines[read:]:
                    record = json.loads(line)
                    yield waiting.pop(record["name"]), record["seconds"]
                read = len(lines)
                if not running:
                    break
                time.sleep(0.2)
            if process.returncode:
                broken = waiting.pop(next(iter(waiting)))
                yield broken, TrainingFailed(f"{broken.name} ended before its last step; the log: {log}")


def prepare(run: Run, log: Path) -> None:
    """Do what the script does before it trains: make the data and the model that are not there.

    Raises:
        TrainingFailed: it did not come to the training.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="consecutive_") as folder:
        _training_arguments(run, Path(folder), log)


def _training_arguments(run: Run, folder: Path, log: Path) -> list[str]:
    """What the script would have called the trainer with; whatever else it does, it does."""
    file = folder / f"{run.name}.arguments"
    settings = {"PYTHON": sys.executable, "MAIN": f"{__file__} {file}", **run.environment}
    with log.open("ab") as output:
        command = ["bash", str(REPOSITORY / run.script), *run.arguments]
        subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **settings}, stdout=output, stderr=output)
    if not file.exists():
        raise TrainingFailed(f"{run.script} did not come to the training of {run.name}; the log: {log}")
    return json.loads(file.read_text())


if __name__ == "__main__":  # in the place of the trainer
    Path(sys.argv[1]).write_text(json.dumps(sys.argv[2:]))
