"""A short supervised training of a language model on written solutions, and what the model then samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from recipes.smollm2.problems import Problem
from recipes.smollm2.reward import compute_score
from verl_gpo.cpu import shared_prefix
from verl_gpo.cpu.detect import bfloat16_units

WARMUP_STEPS = 10
SAMPLED_AT_ONCE = 64


@dataclass(frozen=True)
class Settings:
    """Settings of a round of supervision.

    Args:
        steps: number of optimizer steps.
        batch_size: number of solutions in an optimizer step.
        learning_rate: the largest one; a linear warm-up leads to it, and a linear decay to a tenth of it follows.

    Raises:
        ValueError: a setting is out of its range.
    """

    steps: int
    batch_size: int = 8
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed: it must be at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} is not allowed: it must be above 0")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sampled:
    """Statistics of what a model sampled for held-out problems at temperature 1.

    Attributes:
        accuracy: share of responses with the right answer.
        mixed: share of problems with both right and wrong responses; only these give a gradient under GRPO.
        ended: share of responses that end before the limit of their length.
        lines: mean number of lines of a response.
        tokens: mean number of tokens of a response, the end token included.
        responses: number of responses.
    """

    accuracy: float
    mixed: float
    ended: float
    lines: float
    tokens: float
    responses: int

    def to_dict(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def load(folder: str) -> tuple[Any, Any]:
    """A model in float32, on a GPU if there is one, and its tokenizer, which gets a padding token if it has none."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to(device), tokenizer


def prompt_of(tokenizer: Any, question: str) -> list[int]:
    """The token ids of a question in the chat template, as verl makes them."""
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def solution_of(tokenizer: Any, solution: str) -> list[int]:
    """The token ids of a solution, with the token that ends a turn, as the engine samples it."""
    return [*tokenizer(solution, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def fit(model: Any, tokenizer: Any, draw: Iterator[Problem], settings: Settings, progress: bool = True) -> None:
    """Train the model for one round, in place. The loss is the mean over the tokens of the solutions.

    Each optimizer step is one batch of :mod:`verl_gpo.cpu.shared_prefix`: beginnings that several rows have in common
    are computed once, and nothing is padded.

    Args:
        model, tokenizer: of :func:`load`.
        draw: gives one problem after the other.
        settings: of the round.
        progress: print the loss every ten steps.

    Raises:
        ValueError: :mod:`verl_gpo.cpu.shared_prefix` does not support the architecture of the model.
    """
    if not shared_prefix.supports(model.config):
        raise ValueError(f"model_type={model.config.model_type} is not supported by recipes/smollm2")
    shared_prefix.register()
    plain, model.config._attn_implementation = model.config._attn_implementation, shared_prefix.ATTENTION
    device = model.device
    half = device.type == "cuda" or bool(bfloat16_units())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    began = time.perf_counter()
    model.train()
    for step in range(settings.steps):
        pairs = [
            (prompt_of(tokenizer, problem.question), solution_of(tokenizer, problem.solution))
            for problem in (next(draw) for _ in range(settings.batch_size))
        ]
        rows = [np.array(prompt + solution) for prompt, solution in pairs]
        layout = shared_prefix.layout_of(rows)
        ends = np.cumsum([len(row) for row in rows])
        learnt = torch.from_numpy(
            np.concatenate(
                [np.arange(end - len(solution), end) for end, (_, solution) in zip(ends, pairs, strict=True)]
            )
        )
        ids = torch.from_numpy(np.concatenate(rows))
        rate = settings.learning_rate * min(1.0, (step + 1) / WARMUP_STEPS) * (1 - 0.9 * step / settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            logits = model(
                input_ids=ids[layout.source][None].to(device),
                position_ids=layout.positions[None].to(device),
                logits_to_keep=layout.node_of[learnt - 1].to(device),
                shared_prefix_layout=layout.to(device),
                use_cache=False,
            ).logits[0]
        loss = torch.nn.functional.cross_entropy(logits.float(), ids[learnt].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if progress and (step + 1) % 10 == 0:
            seconds = time.perf_counter() - began
            print(f"supervised step {step + 1}/{settings.steps}: loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    model.config._attn_implementation = plain
    model.eval()


@torch.no_grad()
def sample(model: Any, tokenizer: Any, problems: Sequence[Problem], room: int) -> list[list[int]]:
    """Sample one response to each problem at temperature 1.

    Args:
        room: largest number of tokens of a response.

    Returns:
        The token ids of each response, its end token included.
    """
    responses = []
    for first in range(0, len(problems), SAMPLED_AT_ONCE):
        prompts = [prompt_of(tokenizer, problem.question) for problem in problems[first : first + SAMPLED_AT_ONCE]]
        # Padding is on the left, since generation continues at the right end.
        batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
        out = model.generate(
            **batch, max_new_tokens=room, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        for response in out[:, batch["input_ids"].shape[1] :].tolist():
            end = response.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in response else room
            responses.append(response[:end])
    return responses


def measure(model: Any, tokenizer: Any, problems: Sequence[Problem], *, samples: int, room: int, seed: int) -> Sampled:
    """Sample ``samples`` responses to each problem, and grade them as the training does. torch is seeded."""
    torch.manual_seed(seed)
    asked = [problem for problem in problems for _ in range(samples)]
    responses = sample(model, tokenizer, asked, room)
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    right = np.array([graded(problem, text) for problem, text in zip(asked, texts, strict=True)])
    groups = right.reshape(len(problems), samples).mean(axis=1)
    return Sampled(
        accuracy=float(right.mean()),
        mixed=float(((groups > 0) & (groups < 1)).mean()),
        ended=float(np.mean([response[-1] == tokenizer.eos_token_id for response in responses])),
        lines=float(np.mean([len(text.strip().splitlines()) for text in texts])),
        tokens=float(np.mean([len(response) for response in responses])),
        responses=len(responses),
    )


def graded(problem: Problem, text: str) -> float:
    """1.0 if a response is right, else 0.0."""
    row = problem.row
    return compute_score(row["data_source"], text, row["reward_model"]["ground_truth"], row["extra_info"])["acc"]


def until_good_enough(
    train: Callable[[], None], measured: Callable[[], Sampled], lowest: float, rounds: int
) -> tuple[Sampled, int, float]:
    """Train for one round, and for another one while the accuracy is below ``lowest``.

    Args:
        train: trains for one round.
        measured: measures the model.
        lowest: accuracy that is wanted.
        rounds: largest number of rounds.

    Returns:
        The last measurement, the number of rounds, and the seconds of training.
    """
    seconds, done = 0.0, 0
    while True:
        began = time.perf_counter()
        train()
        seconds, done = seconds + time.perf_counter() - began, done + 1
        found = measured()
        print(f"sampled accuracy {found.accuracy:.3f} after {done} rounds, {seconds:.0f} s of training", flush=True)
        if found.accuracy >= lowest or done == rounds:
            return found, done, seconds
