"""The accuracy of a model on held-out problems, and the distance that its weights have moved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from recipes.smollm2.tasks import TASKS as LANGUAGE_TASKS
from scripts.experiments.grids import SETUPS


@dataclass(frozen=True)
class Evaluation:
    """The result on held-out problems, sampled at temperature 1.

    Attributes:
        accuracies: of each problem, the mean over its samples.
        easy_step, hard_step: of the lines before which all lines are right, the share that is right too, by kind of
            step; None if there was no such line, and for the text of a language model, whose lines have no kind.
    """

    accuracies: list[float]
    easy_step: float | None
    hard_step: float | None


def evaluate(model: Path, data: Path, samples: int, seed: int) -> Evaluation:
    """Sample responses to the held-out problems, and grade them and their lines.

    Args:
        model: folder of the model.
        data: folder that the recipe prepared: ``test.parquet``, and the tokenizer in ``model/``.
        samples: number of responses to each problem.
        seed: of the sampling; torch's global randomness is seeded with it.
    """
    import numpy as np
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.supervision import summarise
    from verl_gpo.data.registry import REASONING_GYM
    from verl_gpo.evaluation.measures import avg_at_k

    rows = pq.read_table(data / "test.parquet").to_pylist()
    if rows[0]["data_source"].removeprefix(f"{REASONING_GYM}/") in LANGUAGE_TASKS:
        return _evaluate_text(model, data, rows, samples, seed)
    if rows[0]["data_source"].startswith(f"{REASONING_GYM}/"):
        from recipes.gym.problems import read_problem
        from recipes.gym.warmstart import graded, respond

        problems = [read_problem(row) for row in rows]
    elif rows[0]["data_source"] == "verl_gpo/agents":
        from recipes.agents.task import read_problem
        from recipes.agents.warmstart import graded
        from recipes.agents.warmstart import play as respond

        problems = [read_problem(row) for row in rows]
    else:
        from recipes.arithmetic.task import parse_problem
        from recipes.arithmetic.warmstart import graded, respond

        problems = [parse_problem(row["prompt"][0]["content"]) for row in rows]
    asked = [problem for problem in problems for _ in range(samples)]
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    responses = respond(network, AutoTokenizer.from_pretrained(data / "model"), asked)
    found = graded(asked, responses)
    lines = summarise([0] * len(found), found).to_dict()  # their lengths are not asked for
    scores = np.array([float(one.right) for one in found]).reshape(len(rows), samples)
    return Evaluation(avg_at_k(scores).tolist(), lines["easy_step"], lines["hard_step"])


def _evaluate_text(model: Path, data: Path, rows: list[dict], samples: int, seed: int) -> Evaluation:
    """The same for a language model, with its chat template and in its own precision for sampling."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipes.smollm2.problems import Problem
    from recipes.smollm2.supervise import graded, sample
    from verl_gpo.evaluation.measures import avg_at_k

    tokenizer = AutoTokenizer.from_pretrained(data / "model")
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()
    problems = [Problem(row["prompt"][-1]["content"], "", row) for row in rows]
    asked = [problem for problem in problems for _ in range(samples)]
    room = OmegaConf.load(SETUPS / f"{rows[0]['data_source'].rpartition('/')[2]}.yaml").data.max_response_length
    torch.manual_seed(seed)
    texts = tokenizer.batch_decode(sample(network, tokenizer, asked, room), skip_special_tokens=True)
    scores = np.array([graded(problem, text) for problem, text in zip(asked, texts, strict=True)])
    return Evaluation(avg_at_k(scores.reshape(len(rows), samples)).tolist(), None, None)


def distance(model: Path, start: Path) -> float:
    """The Euclidean distance between the weights of two models of the same architecture.

    Args:
        model, start: Hugging Face folders with safetensors files.

    Raises:
        ValueError: the names of the weights differ, or there are none.
    """
    import torch
    from safetensors.torch import load_file

    def weights(folder: Path) -> dict[str, torch.Tensor]:
        return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}

    here, there = weights(model), weights(start)
    if set(here) != set(there) or not here:
        raise ValueError(f"{model}: must have the weights that {start} has")
    return math.sqrt(sum(float((here[name].double() - there[name].double()).square().sum()) for name in here))
