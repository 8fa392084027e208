"""Supervised training of the small model on step-by-step solutions, and its accuracy."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes import supervision
from recipes.arithmetic.model import build_model, build_tokenizer
from recipes.gym.problems import Problem, rows
from recipes.supervision import Graded, Measurement, TrainSettings
from verl_gpo.graders import compute_score

# Number of tokens that a response may have more than the longest right one.
SPARE_TOKENS = 8


def supervise(
    problems: list[Problem], slip: float, settings: TrainSettings, seed: int, progress: bool = True
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast, Callable[[], object]]:
    """A new model, its tokenizer, and a function that trains the model for one round on solutions of ``problems``.

    torch's global random state is seeded.

    Args:
        problems: all of the same task.
        slip: probability that a solution gets a hard step wrong.
        settings: of the training.
        seed: of weights and solutions.
        progress: show a progress bar.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"supervise:{seed}")
    task, tokenizer = problems[0].task, build_tokenizer()
    model = build_model(
        tokenizer, hidden_size=settings.hidden_size, n_layers=settings.n_layers, distances=task.distances
    )

    def draw() -> list[tuple[str, str]]:
        chosen = rng.choices(problems, k=settings.batch_size)
        return [(problem.prompt, problem.sample_solution(rng, slip)) for problem in chosen]

    return model, tokenizer, lambda: supervision.fit(model, tokenizer, draw, settings, progress)


def respond(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem], *, greedy: bool = False
) -> list[str]:
    """One response to each problem; see :func:`recipes.supervision.respond`. All problems are of the same task."""
    room = problems[0].task.response_tokens + SPARE_TOKENS
    return supervision.respond(model, tokenizer, [problem.prompt for problem in problems], room, greedy=greedy)


def graded(problems: list[Problem], texts: list[str]) -> list[Graded]:
    """The grades of responses and of their lines. Answers are graded by reasoning-gym's scorer, as the reward does."""
    found = []
    for problem, row, text in zip(problems, rows(problems, "eval"), texts, strict=True):
        lines = problem.right_lines
        score = compute_score(row["data_source"], text, row["reward_model"]["ground_truth"], row["extra_info"])
        written = text.rstrip("\n").split("\n")
        found.append(
            Graded(
                right=score["acc"] == 1.0,
                lines=[k < len(lines) and line == lines[k].text for k, line in enumerate(written)],
                hard=frozenset(k for k, line in enumerate(lines) if line.is_hard),
            )
        )
    return found


def measure(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: list[Problem],
    *,
    seed: int,
    samples: int = 1,
    greedy: bool = False,
) -> Measurement:
    """The accuracies over ``samples`` responses to each problem. torch's global random state is seeded."""
    torch.manual_seed(seed)
    asked = [problem for problem in problems for _ in range(samples)]
    texts = respond(model, tokenizer, asked, greedy=greedy)
    return supervision.summarise(supervision.byte_tokens(texts), graded(asked, texts))
