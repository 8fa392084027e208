"""A cell that is trained with verl: what its recipe is called with, and the row that its log and weights make."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.experiments.evaluation import Evaluation, distance, evaluate
from scripts.experiments.grids import Cell, Grid
from scripts.experiments.pipeline import Run as Call
from scripts.experiments.rows import Point, Run
from scripts.experiments.settings import overrides, recipe_method
from verl_gpo.statistics import bootstrap_interval
from verl_gpo.traces.runlog import RunLog, generated_tokens

#: Columns and the metric that each is the sum of.
SUMS = {
    "tokens_root": "gpo/tokens/root",
    "tokens_value": "gpo/tokens/value",
    "tokens_reentry": "gpo/tokens/reentry",
    "requests_value": "gpo/requests/value",
    "requests_reentry": "gpo/requests/reentry",
    "rows": "gpo/rows",
    "optimizer_steps": "gpo/optimizer_steps",
    "seconds_gen": "timing_s/gen",
    "seconds_old_log_prob": "timing_s/old_log_prob",
    "seconds_update_actor": "timing_s/update_actor",
    "seconds_update_critic": "timing_s/update_critic",
    "seconds_update_weights": "timing_s/update_weights",
}


@dataclass(frozen=True)
class CellFolder:
    """Where the files of a cell are: what offline and online trainings have in common.

    Args:
        grid, cell: what is trained.
        folder: of models, pairs and logs.
    """

    grid: Grid
    cell: Cell
    folder: Path

    @property
    def data(self) -> Path:
        """The regime's problems and model, which all its runs share."""
        return self.folder / self.cell.regime / "data"

    @property
    def out(self) -> Path:
        """The run's own folder."""
        return self.folder / self.cell.regime / self.cell.file_name


@dataclass(frozen=True)
class Training(CellFolder):
    """One call of a recipe's script, ``recipes/arithmetic/run.sh`` or one that ends in it.

    verl's own validation goes request by request and takes longer than the training steps here, so the weights are
    saved instead and sampled from afterwards: temperature 1, from the prompt, no re-entry.
    """

    @property
    def metrics(self) -> Path:
        """verl's log."""
        return self.out / "metrics.jsonl"

    def weights(self, step: int) -> Path:
        """The model after a training step, 0 for the one that training started from."""
        if step == 0:
            return self.data / "model"
        return self.out / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"

    def call(self) -> Call:
        """The recipe's script with its arguments and environment."""
        cell, grid, regime = self.cell, self.grid, self.grid.regimes[self.cell.regime]
        prompt, response = regime.lengths
        arguments = [
            f"trainer.total_training_steps={grid.training_steps}",
            "trainer.test_freq=-1",
            "trainer.val_before_train=false",
            f"trainer.save_freq={grid.evaluate_every}",
            "actor_rollout_ref.actor.checkpoint.save_contents=[hf_model]",
            "trainer.resume_mode=disable",
            f"data.seed={cell.seed}",
            f"actor_rollout_ref.rollout.seed={cell.seed}",
            f"algorithm.gpo.seed={cell.seed}",
            f"data.max_prompt_length={prompt}",
            f"actor_rollout_ref.rollout.max_model_len={prompt + response}",
            *([f"data.max_response_length={response}"] if regime.recipe == "smollm2" else []),
            *grid.settings,
            *overrides(cell.method, cell.settings),
        ]
        environment = {
            "ALGO": cell.settings.optimizer,
            "METHOD": recipe_method(cell.method),
            "DATA_DIR": str(self.data.resolve()),
            "OUT_DIR": str(self.out.resolve()),
            "VERL_FILE_LOGGER_PATH": str(self.metrics.resolve()),
            "TASK": regime.task,
            "SETUP": regime.task,  # the same, for recipes/smollm2
            "PREPARE_ARGS": " ".join(regime.arguments),
            "RESPONSE_LENGTH": str(response),
        }
        return Call(cell.file_name, regime.script, arguments, environment)

    def result(self, number: int, commit: str) -> tuple[Run, list[float]]:
        """The row of the run, which has ended, and its last accuracies, a problem each."""
        log = RunLog.read(self.metrics)
        points, last = self._evaluations(number, log)
        return self._row(number, commit, log, points), last.accuracies

    def _evaluations(self, number: int, log: RunLog) -> tuple[list[Point], Evaluation]:
        """The run's evaluations, the model that it started from included."""
        points: list[Point] = []
        spent = {"tokens": 0.0, "rows": 0.0, "optimizer_steps": 0.0, "seconds": 0.0}
        for step in range(self.grid.training_steps + 1):
            if step:
                metrics = log.steps[step]
                spent["tokens"] += generated_tokens(metrics)
                spent["rows"] += metrics["gpo/rows"]
                spent["optimizer_steps"] += metrics["gpo/optimizer_steps"]
                spent["seconds"] += step_seconds(metrics)
            if step % self.grid.evaluate_every == 0:
                measure = evaluate if step else evaluate_start
                found = measure(self.weights(step), self.data, self.grid.samples, self.cell.seed)
                by_problem = np.array(found.accuracies)
                (low,), (high,) = bootstrap_interval(by_problem)
                result = {"accuracy": float(by_problem.mean()), "low": float(low), "high": float(high)}
                result |= {"easy_step": found.easy_step, "hard_step": found.hard_step}
                result |= {"problems": len(by_problem), "samples": self.grid.samples}
                moved = distance(self.weights(step), self.weights(0))
                points.append(Point(run=number, training_step=step, **spent, **result, distance=moved))
        return points, found

    def _row(self, number: int, commit: str, log: RunLog, points: list[Point]) -> Run:
        """What the run was, cost and reached."""
        steps = log.steps.values()

        def share(name: str) -> float | None:
            values = [metrics[name] for metrics in steps if name in metrics]
            return float(np.mean(values)) if values else None

        sums: dict[str, float | None] = {column: log.total(metric) for column, metric in SUMS.items()}
        if not log.series(SUMS["seconds_update_critic"]):
            sums["seconds_update_critic"] = None
        judged = [m for m in steps if "gpo/critical/given" in m]  # the task can tell right critical steps from wrong
        hits = sum(round(m["gpo/critical/given"] * m["gpo/critical/found"]) for m in judged) if judged else None
        cores, device = machine()
        return Run(
            run=number,
            grid=self.cell.grid,
            regime=self.cell.regime,
            method=self.cell.method,
            seed=self.cell.seed,
            settings=self.cell.settings,
            training_steps=self.grid.training_steps,
            commit=commit,
            cores=cores,
            device=device,
            tokens=sum(generated_tokens(metrics) for metrics in steps),
            **sums,
            pairs=None,
            pair_prompts=None,
            seconds=sum(map(step_seconds, steps)),
            root_mixed=share("gpo/mixed/root"),
            reentry_mixed=share("gpo/mixed/reentry"),
            hits=hits,
            chosen=sum(m["gpo/critical/found"] for m in judged) if judged else None,
            accuracy=points[-1].accuracy,
            low=points[-1].low,
            high=points[-1].high,
            points=tuple(points),
        )


@functools.cache  # runs of a seed start from one model
def evaluate_start(*arguments: Any) -> Evaluation:
    """:func:`~scripts.experiments.evaluation.evaluate` of a model that several runs start from."""
    return evaluate(*arguments)


def step_seconds(metrics: Mapping[str, Any]) -> float:
    """Seconds of a training step, without what only the experiment asks for."""
    return float(metrics["timing_s/step"]) - float(metrics.get("timing_s/save_checkpoint", 0.0))


def machine(information: Path = Path("/proc/cpuinfo")) -> tuple[int, str]:
    """Number of cores, and the GPU's or the processor's model: seconds of two models are not compared.

    Args:
        information: of the processor; where it does not say, the device is ``cpu``.
    """
    import torch

    if torch.cuda.is_available():
        return os.cpu_count() or 1, torch.cuda.get_device_name()
    lines = information.read_text().splitlines() if information.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return os.cpu_count() or 1, model or "cpu"
