"""A cell that is trained with verl: how its recipe is called, and its row, made from the log and the weights."""

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

#: Columns of a row, and the metric whose sum over training steps each of them is.
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
    """The folders of a cell, which online and offline trainings share.

    Args:
        grid, cell: what is trained.
        folder: for models, pairs and logs.
    """

    grid: Grid
    cell: Cell
    folder: Path

    @property
    def data(self) -> Path:
        """The folder of the regime's problems and model, which all its runs share."""
        return self.folder / self.cell.regime / "data"

    @property
    def out(self) -> Path:
        """The run's own folder."""
        return self.folder / self.cell.regime / self.cell.file_name


@dataclass(frozen=True)
class Training(CellFolder):
    """One call of a recipe's script: ``recipes/arithmetic/run.sh``, or one that calls it.

    verl's own validation takes longer than the training steps here, since it sends one request at a time. So the
    weights are saved, and afterwards sampled from, at temperature 1 and from the prompt.
    """

    @property
    def metrics(self) -> Path:
        """The file of verl's file logger."""
        return self.out / "metrics.jsonl"

    def weights(self, step: int) -> Path:
        """The folder of the model after a training step; 0 for the model at the start."""
        if step == 0:
            return self.data / "model"
        return self.out / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"

    def call(self) -> Call:
        """The call of the recipe's script: arguments and environment."""
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
            "MATCH": "none",  # there; a twin has as many rollouts as the grid says
            "PREPARE_ARGS": " ".join(regime.arguments),
            "RESPONSE_LENGTH": str(response),
        }
        return Call(cell.file_name, regime.script, arguments, environment)

    def result(self, number: int, commit: str) -> tuple[Run, list[float]]:
        """The row of the finished run, and the accuracy of each held-out problem at its end.

        Args:
            number: of the run.
            commit: that was trained with.
        """
        log = RunLog.read(self.metrics)
        points, last = self._evaluations(number, log)
        return self._row(number, commit, log, points), last.accuracies

    def _evaluations(self, number: int, log: RunLog) -> tuple[list[Point], Evaluation]:
        """The evaluations of the run, that of the model at its start included, and the last result in full."""
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
        """The row of the run."""
        steps = log.steps.values()

        def share(name: str) -> float | None:
            values = [metrics[name] for metrics in steps if name in metrics]
            return float(np.mean(values)) if values else None

        sums: dict[str, float | None] = {column: log.total(metric) for column, metric in SUMS.items()}
        if not log.series(SUMS["seconds_update_critic"]):
            sums["seconds_update_critic"] = None
        judged = [
            m for m in steps if "gpo/critical/given" in m
        ]  # only tasks that know which steps are hard have this metric
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


@functools.cache  # all runs of a seed start from the same model
def evaluate_start(*arguments: Any) -> Evaluation:
    """:func:`~scripts.experiments.evaluation.evaluate`, once for a model from which several runs start."""
    return evaluate(*arguments)


def step_seconds(metrics: Mapping[str, Any]) -> float:
    """Seconds of a training step, without saving the weights, which only the experiment needs."""
    return float(metrics["timing_s/step"]) - float(metrics.get("timing_s/save_checkpoint", 0.0))


def machine(information: Path = Path("/proc/cpuinfo")) -> tuple[int, str]:
    """Number of CPU cores, and the model of the GPU or else of the processor.

    Args:
        information: the file that names the model of the processor; if it does not, the model is ``cpu``.
    """
    import torch

    if torch.cuda.is_available():
        return os.cpu_count() or 1, torch.cuda.get_device_name()
    lines = information.read_text().splitlines() if information.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return os.cpu_count() or 1, model or "cpu"
