"""Supervision of the small model from scratch, and the measurement of what it learned."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes.arithmetic.model import build_model, build_tokenizer, encode_prompt
from recipes.arithmetic.reward import compute_score
from recipes.arithmetic.task import ArithmeticSpec, Problem, sample_solution, step_correctness

WARMUP_STEPS = 50


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the supervision; the defaults fit the default task in two to three minutes on two CPU cores.

    Args:
        steps: optimizer steps, the whole budget.
        batch_size: traces a step.
        learning_rate: peak, reached after a linear warm-up and followed by a cosine decay.
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


@dataclass(frozen=True)
class Measurement:
    """Accuracies of a model on held-out problems.

    Attributes:
        accuracy: share of responses with the right answer.
        easy_step, hard_step: share of right lines among those that follow only right lines, by kind of step (the
            answer line counts as easy); nan where no such line was met.
        responses: number of responses measured.
        tokens: mean response length in tokens, the end token included.
    """

    accuracy: float
    easy_step: float
    hard_step: float
    responses: int
    tokens: float

    def to_dict(self) -> dict:
        return {name: None if value != value else value for name, value in asdict(self).items()}


def supervise(
    problems: list[Problem], spec: ArithmeticSpec, settings: TrainSettings, seed: int, progress: bool = True
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """Train a model from scratch on sampled traces of ``problems`` (all of one spec, so all of one length).

    The loss covers the response only: prompts are random digits. Global torch randomness is seeded.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"supervise:{seed}")
    tokenizer = build_tokenizer()
    prompt_tokens = len(encode_prompt(tokenizer, problems[0].prompt))
    # Seen from the token before a digit, the same digit of the previous value is one line back and the operand digit
    # one prompt back. Without this start training sits on a plateau for most of its budget: neither of the two alone
    # tells anything about a sum modulo 10, so there is no gradient towards finding one before the other is found.
    distances = (spec.digits + 3 - 1, prompt_tokens - 1)
    model = build_model(
        tokenizer, hidden_size=settings.hidden_size, n_layers=settings.n_layers, distances=distances
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    bar = tqdm(range(settings.steps), desc="supervise", mininterval=1.0, disable=not progress)
    for step in bar:
        done = step / settings.steps
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * done))
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / WARMUP_STEPS) * max(cosine, 0.02)
        traces = []
        for problem in rng.choices(problems, k=settings.batch_size):
            messages = [
                {"role": "user", "content": problem.prompt},
                {"role": "assistant", "content": sample_solution(problem, rng, spec.slip)},
            ]
            traces.append(tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n"))
        ids = tokenizer(traces, return_tensors="pt", padding=False)["input_ids"]
        targets = ids[:, prompt_tokens:]
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=targets.shape[1] + 1).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval(), tokenizer


@torch.no_grad()
def respond(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: list[Problem],
    *,
    greedy: bool = False,
    batch_size: int = 512,
) -> list[str]:
    """One response for each problem (all of one length), sampled at temperature 1 or greedy, end token removed."""
    lines = problems[0].right_lines
    room = sum(len(line) + 1 for line in lines) + 8
    texts = []
    for first in range(0, len(problems), batch_size):
        prompts = [encode_prompt(tokenizer, p.prompt) for p in problems[first : first + batch_size]]
        ids = torch.tensor(prompts)
        how = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, **how)
        texts += tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    return texts


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
    right = sum(compute_score("", text, p.answer)["score"] for text, p in zip(texts, asked, strict=True))
    met, good = {True: 0, False: 0}, {True: 0, False: 0}
    for response, problem in zip(texts, asked, strict=True):
        hard = set(problem.hard_steps)
        for k, correct in enumerate(step_correctness(problem, response)):
            met[k in hard] += 1
            good[k in hard] += correct
            if not correct:
                break
    return Measurement(
        accuracy=right / len(asked),
        easy_step=good[False] / met[False] if met[False] else math.nan,
        hard_step=good[True] / met[True] if met[True] else math.nan,
        responses=len(asked),
        tokens=sum(len(text.encode()) + 1 for text in texts) / len(texts),
    )
