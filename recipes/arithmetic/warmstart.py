"""Supervision of the small model from scratch, and the measurement of what it learned."""

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
    """A new model, its tokenizer, and a call that trains the model for a round on sampled traces of ``problems``.

    The problems are all of one spec, so all of one length. The loss covers the response only: prompts are random
    digits. Global torch randomness is seeded.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"supervise:{seed}")
    tokenizer = build_tokenizer()
    prompt_tokens = len(encode_prompt(tokenizer, problems[0].prompt))
    # Seen from the token before a digit, the same digit of the previous value is one line back and the operand digit
    # one prompt back. Without this start training sits on a plateau for most of its budget: neither of the two alone
    # tells anything about a sum modulo 10, so there is no gradient towards finding one before the other is found.
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
    """One response for each problem (all of one length), sampled at temperature 1 or greedy, end token removed."""
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
    """Accuracies over ``samples`` responses for each problem. Global torch randomness is seeded."""
    torch.manual_seed(seed)
    asked = [problem for problem in problems for _ in range(samples)]
    texts = respond(model, tokenizer, asked, greedy=greedy)
    return supervision.summarise(texts, graded(asked, texts))


def graded(problems: list[Problem], texts: list[str]) -> list[Graded]:
    """Each response, and each of its lines, as the task sees it."""
    return [
        Graded(
            right=compute_score("", text, problem.answer)["score"] == 1.0,
            lines=step_correctness(problem, text),
            hard=frozenset(problem.hard_steps),
        )
        for text, problem in zip(texts, problems, strict=True)
    ]
