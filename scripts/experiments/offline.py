"""A cell of an offline optimizer: builds pairs, unless another optimizer has built them; trains; makes the row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.experiments.evaluation import evaluate
from scripts.experiments.pipeline import REPOSITORY, TrainingFailed
from scripts.experiments.rows import Run
from scripts.experiments.settings import recipe_method
from scripts.experiments.trainings import CellFolder, machine
from verl_gpo.statistics import bootstrap_interval

SCRIPT = "recipes/arithmetic/offline.sh"


@dataclass(frozen=True)
class OfflineTraining(CellFolder):
    """One training with ``recipes/arithmetic/offline.sh``; the folder ``out`` holds the trained model."""

    @property
    def pairs(self) -> Path:
        """The folder of the pairs, which all optimizers of a method and a seed share."""
        own = f"{self.cell.grid}-pairs-{recipe_method(self.cell.method)}-{self.cell.seed}"
        return self.folder / self.cell.regime / own

    def environment(self) -> dict[str, str]:
        """The environment that the script is called with."""
        return {
            "ALGO": self.cell.settings.optimizer,
            "METHOD": recipe_method(self.cell.method),
            "SEED": str(self.cell.seed),
            "TOKENS": str(self.grid.offline.tokens),
            "STEPS": str(self.grid.offline.steps),
            "PREPARE_ARGS": " ".join(self.grid.regimes[self.cell.regime].arguments),
            "DATA_DIR": str(self.data.resolve()),
            "PAIRS_DIR": str(self.pairs.resolve()),
            "OUT_DIR": str(self.out.resolve()),
        }

    def train(self) -> None:
        """Build the pairs and train, each unless its result is there from an interrupted call.

        Raises:
            TrainingFailed: the script failed; the message names its log.
        """
        logs = self.folder / "log"
        timed = self.pairs / "seconds.json"
        if not timed.exists():
            seconds = _call("pairs", self.environment(), logs / f"{self.pairs.name}.log")
            timed.write_text(json.dumps(seconds))
        if not (self.out / "train.json").exists():
            _call("train", self.environment(), logs / f"{self.cell.file_name}.log")

    def result(self, number: int, commit: str) -> tuple[Run, list[float]]:
        """The row of the finished run, and the accuracy of each held-out problem.

        Args:
            number: of the run.
            commit: that was trained with.
        """
        report = json.loads((self.pairs / "report.json").read_text())
        trained = json.loads((self.out / "train.json").read_text())
        accuracies = evaluate(self.out, self.data, self.grid.samples, self.cell.seed).accuracies
        (low,), (high,) = bootstrap_interval(np.array(accuracies))
        cores, device = machine()
        tokens = report["tokens"]
        not_known = dict.fromkeys(("seconds_gen", "seconds_old_log_prob", "seconds_update_actor"))
        not_known |= dict.fromkeys(("seconds_update_critic", "seconds_update_weights", "root_mixed", "reentry_mixed"))
        not_known |= dict.fromkeys(("requests_value", "requests_reentry", "hits", "chosen"))
        run = Run(
            run=number,
            grid=self.cell.grid,
            regime=self.cell.regime,
            method=self.cell.method,
            seed=self.cell.seed,
            settings=self.cell.settings,
            training_steps=None,
            commit=commit,
            cores=cores,
            device=device,
            tokens=tokens["total"],
            tokens_root=tokens["root"],
            tokens_value=tokens["value"],
            tokens_reentry=tokens["total"] - tokens["root"] - tokens["value"],
            rows=trained["optimizer_steps"] * trained["batch_size"],
            optimizer_steps=trained["optimizer_steps"],
            pairs=report["pairs"],
            pair_prompts=report["prompts"],
            seconds=json.loads((self.pairs / "seconds.json").read_text()) + trained["seconds"],
            accuracy=float(np.mean(accuracies)),
            low=float(low),
            high=float(high),
            **not_known,
        )
        return run, accuracies


def _call(stage: str, environment: Mapping[str, str], log: Path) -> float:
    """Run one stage of the script, with its output in a log. Returns the seconds that it took."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    settings = {"PYTHON": sys.executable, "STAGES": stage, **environment}
    with log.open("wb") as output:
        command = ["bash", str(REPOSITORY / SCRIPT)]
        status = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT
        ).returncode
    if status:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise TrainingFailed(f"{SCRIPT} ended with status {status}; its log, {log}, ends:\n{end}")
    return time.perf_counter() - began
