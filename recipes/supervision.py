"""Supervised training of a small model from random weights, sampling from it, and its accuracy, for any task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes.arithmetic.model import encode_prompt
from recipes.prepared import TargetMissed

WARMUP_STEPS = 50
#: Largest number of rounds. The same number of optimizer steps gives different accuracies on different machines,
#: because of rounding, so a model that has not learnt enough gets another round.
ROUNDS = 3
IGNORED = -100  # the target that torch's cross entropy ignores


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the supervision; the defaults fit the default arithmetic task in two to three minutes on two cores.

    Args:
        steps: number of optimizer steps in a round (:func:`until_good_enough`).
        batch_size: number of solutions in an optimizer step.
        learning_rate: the largest one; a linear warm-up leads to it, and a cosine decay follows.
        hidden_size, n_layers: of the model.

    Raises:
        ValueError: a setting is out of its range.
    """

    steps: int = 900
    batch_size: int = 16
    learning_rate: float = 4e-3
    hidden_size: int = 64
    n_layers: int = 2

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "n_layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r} is not allowed: it must be an integer of at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate!r} is not allowed: it must be above 0")

    def to_dict(self) -> dict:
        return asdict(self)


class Graded(NamedTuple):
    """A graded response.

    Attributes:
        right: whether the answer is right.
        lines: for each line of the response, whether it is right.
        hard: indices of the lines that are hard steps.
    """

    right: bool
    lines: Sequence[bool]
    hard: frozenset[int]


@dataclass(frozen=True)
class Measurement:
    """Accuracies of a model on held-out problems.

    Attributes:
        accuracy: share of responses with the right answer.
        easy_step, hard_step: of the lines before which all lines are right, the share that is right too, by kind of
            step (the answer line counts as easy); nan if there was no such line.
        responses: number of responses.
        tokens: mean length of a response in tokens, the end token included.
    """

    accuracy: float
    easy_step: float
    hard_step: float
    responses: int
    tokens: float

    def to_dict(self) -> dict:
        return {name: None if value != value else value for name, value in asdict(self).items()}


def fit(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    draw: Callable[[], Iterable[tuple[str, str]]],
    settings: TrainSettings,
    progress: bool = True,
) -> Qwen2ForCausalLM:
    """Train the model for one round, in place. Prompts get no loss.

    Args:
        model, tokenizer: of ``recipes/arithmetic/model.py``.
        draw: gives the prompts and responses of one optimizer step. All prompts have the same number of tokens.
        settings: number of optimizer steps, batch size and learning rate.
        progress: show a progress bar.
    """

    def tokens() -> tuple[torch.Tensor, torch.Tensor]:
        traces, pairs = [], list(draw())
        for prompt, response in pairs:
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
            traces.append(tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n"))
        # Padding on the right needs no mask: only padding attends to it, and it has no target.
        batch = tokenizer(traces, return_tensors="pt", padding=True, padding_side="right")
        prompt_tokens = len(encode_prompt(tokenizer, pairs[0][0]))
        targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        targets[:, :prompt_tokens] = IGNORED
        return batch["input_ids"], targets

    return fit_tokens(model, tokens, settings, progress)


def fit_tokens(
    model: Qwen2ForCausalLM,
    draw: Callable[[], tuple[torch.Tensor, torch.Tensor]],
    settings: TrainSettings,
    progress: bool = True,
) -> Qwen2ForCausalLM:
    """Train the model for a round, in place, on the token ids that ``draw`` gives for each step.

    Args:
        draw: gives token ids and targets, each of shape (sequences, tokens). Targets are the ids themselves, and
            :data:`IGNORED` where there is no loss.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    bar = tqdm(range(settings.steps), desc="supervise", mininterval=1.0, disable=not progress)
    model.train()
    for step in bar:
        done = step / settings.steps
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * done))
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / WARMUP_STEPS) * max(cosine, 0.02)
        ids, targets = draw()
        first = int((targets != IGNORED).any(dim=0).nonzero()[0])  # logits before the first target are not needed
        targets = targets[:, first:]
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=targets.shape[1] + 1).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def until_good_enough(
    train: Callable[[], object],
    measure: Callable[[], Measurement],
    target: tuple[float, float],
    steps: int,
    advice: str,
) -> tuple[Measurement, dict[str, float]]:
    """Train for one round, and for another one while the sampled accuracy is below the target.

    Args:
        train: trains for one round of ``steps`` optimizer steps.
        measure: measures the model.
        target: lowest and highest accuracy that are accepted.
        steps: number of optimizer steps in a round, for the message.
        advice: last sentence of the error message.

    Returns:
        The last measurement, and ``rounds`` and ``train_seconds`` for the card.

    Raises:
        TargetMissed: the accuracy is above the target, or below it after :data:`ROUNDS` rounds.
    """
    low, high = target
    rounds, seconds = 0, 0.0
    while True:
        began = time.perf_counter()
        train()
        rounds, seconds = rounds + 1, seconds + time.perf_counter() - began
        found = measure()
        if found.accuracy >= low or rounds == ROUNDS:
            break
    if not low <= found.accuracy <= high:
        raise TargetMissed(
            f"sampled accuracy {found.accuracy:.3f} after {rounds} x {steps} steps ({seconds:.0f} s) is outside the "
            f"target [{low}, {high}]; easy lines right {found.easy_step:.4f}, hard lines right "
            f"{found.hard_step:.4f}. {advice}"
        )
    return found, {"rounds": rounds, "train_seconds": round(seconds, 1)}


def train_and_measure(
    train: Callable[[], object],
    measure: Callable[..., Measurement],
    target: tuple[float, float],
    settings: TrainSettings,
    samples: int,
    advice: str,
) -> dict[str, Any]:
    """:func:`until_good_enough`, and what the card says of the result.

    Args:
        train: trains for one round.
        measure: measures the model, with ``samples`` responses to each problem, or ``greedy``.
        target: lowest and highest accuracy that are accepted.
        settings: of the supervision.
        samples: number of responses to each problem.
        advice: last sentence of the error message.

    Returns:
        Entries for the card.

    Raises:
        TargetMissed: as :func:`until_good_enough` does.
    """
    sampled, card = until_good_enough(train, lambda: measure(samples=samples), target, settings.steps, advice)
    greedy = measure(greedy=True)
    return {**card, "settings": settings.to_dict(), "sampled": sampled.to_dict(), "greedy": greedy.to_dict()}


@torch.no_grad()
def respond(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    max_new_tokens: int,
    *,
    greedy: bool = False,
    batch_size: int = 512,
) -> list[str]:
    """One response to each prompt, as text without the end token.

    Args:
        model, tokenizer: of ``recipes/arithmetic/model.py``.
        prompts: all with the same number of tokens.
        max_new_tokens: longest response.
        greedy: take the most probable token instead of sampling at temperature 1.
        batch_size: number of prompts that are sampled at once.
    """
    texts = []
    for first in range(0, len(prompts), batch_size):
        ids = torch.tensor([encode_prompt(tokenizer, prompt) for prompt in prompts[first : first + batch_size]])
        how = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, **how)
        texts += tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    return texts


def byte_tokens(texts: Iterable[str]) -> list[int]:
    """Tokens of responses of the byte-level tokenizer, their end tokens included."""
    return [len(text.encode()) + 1 for text in texts]


def summarise(tokens: Sequence[int], graded: Sequence[Graded]) -> Measurement:
    """The accuracies of graded responses, and their mean length.

    Args:
        tokens: of each response, the end token included.
    """
    met, good = {True: 0, False: 0}, {True: 0, False: 0}
    for one in graded:
        for k, correct in enumerate(one.lines):
            met[k in one.hard] += 1
            good[k in one.hard] += correct
            if not correct:
                break
    return Measurement(
        accuracy=sum(one.right for one in graded) / len(graded),
        easy_step=good[False] / met[False] if met[False] else math.nan,
        hard_step=good[True] / met[True] if met[True] else math.nan,
        responses=len(graded),
        tokens=sum(tokens) / len(tokens),
    )
