"""Supervised training of the small model on the arithmetic task, and its accuracy."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes import supervision
from recipes.arithmetic.model import build_model, build_tokenizer, encode_prompt
from recipes.arithmetic.reward import compute_score
from recipes.arithmetic.task import ArithmeticSpec, Problem, sample_solution, step_correctness
from recipes.supervision import Graded, Measurement, TrainSettings


def supervise(
    problems: list[Problem], spec: ArithmeticSpec, settings: TrainSettings, seed: int, progress: bool = True
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast, Callable[[], object]]:
    """A new model, its tokenizer, and a function that trains the model for one round on solutions of ``problems``.

    Prompts get no loss, since they are random digits. torch's global random state is seeded.

    Args:
        problems: all of the same spec, and so of the same length.
        spec: length and difficulty.
        settings: of the training.
        seed: of weights and solutions.
        progress: show a progress bar.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"supervise:{seed}")
    tokenizer = build_tokenizer()
    prompt_tokens = len(encode_prompt(tokenizer, problems[0].prompt))
    # Seen from the token before a digit, the same digit of the value before is one line back, and the digit of the
    # operand is one prompt back. Without this start, the loss stays on a plateau for most of the training: one of the
    # two digits alone says nothing about their sum modulo 10, so there is no gradient that would help to find the first
    # one.
    distances = (spec.digits + 3 - 1, prompt_tokens - 1)
    model = build_model(tokenizer, hidden_size=settings.hidden_size, n_layers=settings.n_layers, distances=distances)

    def draw() -> list[tuple[str, str]]:
        chosen = rng.choices(problems, k=settings.batch_size)
        return [(problem.prompt, sample_solution(problem, rng, spec.slip)) for problem in chosen]

    return model, tokenizer, lambda: supervision.fit(model, tokenizer, draw, settings, progress)


def respond(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: list[Problem],
    *,
    greedy: bool = False,
    batch_size: int = 512,
) -> list[str]:
    """One response to each problem; see :func:`recipes.supervision.respond`. All problems have the same length."""
    room = sum(len(line) + 1 for line in problems[0].right_lines) + 8
    prompts = [problem.prompt for problem in problems]
    return supervision.respond(model, tokenizer, prompts, room, greedy=greedy, batch_size=batch_size)


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


def graded(problems: list[Problem], texts: list[str]) -> list[Graded]:
    """The grades of responses and of their lines."""
    return [
        Graded(
            right=compute_score("", text, problem.answer)["score"] == 1.0,
            lines=step_correctness(problem, text),
            hard=frozenset(problem.hard_steps),
        )
        for text, problem in zip(texts, problems, strict=True)
    ]
