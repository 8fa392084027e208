"""Trainings of a recipe for benchmarks: what they are called with, and how good their weights are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.consecutive import Run
from verl_gpo.traces.runlog import RunLog


@dataclass(frozen=True)
class Training:
    """One call of a recipe's script, ``recipes/arithmetic/run.sh`` or one that ends in it.

    verl's own validation goes request by request and takes longer than the training steps here, so the weights are
    saved instead and sampled from afterwards (:func:`evaluate`): temperature 1, from the prompt, no re-entry.

    Args:
        name: of the run.
        algo, method: of the recipe.
        seed: of the data's order and of all choices.
        steps: training steps.
        save_every: training steps from one saved model to the next.
        data: folder of the task.
        out: folder of the run.
        overrides: further settings of verl's.
        environment: further settings of the recipe's.
        script: of the recipe.
    """

    name: str
    algo: str
    method: str
    seed: int
    steps: int
    save_every: int
    data: Path
    out: Path
    overrides: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    script: str = "recipes/arithmetic/run.sh"

    def run(self) -> Run:
        arguments = [
            f"trainer.total_training_steps={self.steps}",
            "trainer.test_freq=-1",
            "trainer.val_before_train=false",
            f"trainer.save_freq={self.save_every}",
            "actor_rollout_ref.actor.checkpoint.save_contents=[hf_model]",
            "trainer.resume_mode=disable",
            f"data.seed={self.seed}",
            f"actor_rollout_ref.rollout.seed={self.seed}",
            f"algorithm.gpo.seed={self.seed}",
            *self.overrides,
        ]
        environment = {
            "ALGO": self.algo,
            "METHOD": self.method,
            "DATA_DIR": str(self.data.resolve()),
            "OUT_DIR": str(self.out.resolve()),
            "VERL_FILE_LOGGER_PATH": str(self.metrics.resolve()),
            **self.environment,
        }
        return Run(self.name, self.script, arguments, environment)

    @property
    def metrics(self) -> Path:
        return self.out / "metrics.jsonl"

    def log(self) -> RunLog:
        return RunLog.read(self.metrics)

    def weights(self, step: int) -> Path:
        """The model after a training step, 0 for the one that training started from."""
        if step == 0:
            return self.data / "model"
        return self.out / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"


@dataclass(frozen=True)
class Evaluation:
    """Held-out problems, sampled at temperature 1.

    Attributes:
        accuracies: of each problem.
        easy_step, hard_step: share of right lines among those that follow only right lines, by kind of step; None
            where no such line was met.
    """

    accuracies: list[float]
    easy_step: float | None
    hard_step: float | None


def evaluate(model: Path, data: Path, samples: int, seed: int) -> Evaluation:
    """Sample ``samples`` responses to each held-out problem, and grade them and their lines."""
    import numpy as np
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.supervision import summarise
    from verl_gpo.data.registry import REASONING_GYM
    from verl_gpo.evaluation.measures import avg_at_k

    rows = pq.read_table(data / "test.parquet").to_pylist()
    if rows[0]["data_source"].startswith(f"{REASONING_GYM}/"):
        from recipes.gym.problems import read_problem
        from recipes.gym.warmstart import graded, respond

        problems = [read_problem(row) for row in rows]
    else:
        from recipes.arithmetic.task import parse_problem
        from recipes.arithmetic.warmstart import graded, respond

        problems = [parse_problem(row["prompt"][0]["content"]) for row in rows]
    asked = [problem for problem in problems for _ in range(samples)]
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    texts = respond(network, AutoTokenizer.from_pretrained(data / "model"), asked)
    found = graded(asked, texts)
    lines = summarise(texts, found).to_dict()
    scores = np.array([float(one.right) for one in found]).reshape(len(rows), samples)
    return Evaluation(avg_at_k(scores).tolist(), lines["easy_step"], lines["hard_step"])


def distance(model: Path, start: Path) -> float:
    """Euclidean distance between the weights of two models of one architecture, folders of Hugging Face's.

    Raises:
        ValueError: the models have other weights, or none.
    """
    import torch
    from safetensors.torch import load_file

    def weights(folder: Path) -> dict[str, torch.Tensor]:
        return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}

    here, there = weights(model), weights(start)
    if set(here) != set(there) or not here:
        raise ValueError(f"{model}: must have the weights that {start} has")
    return math.sqrt(sum(float((here[name].double() - there[name].double()).square().sum()) for name in here))
