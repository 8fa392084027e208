"""Supervision of the small model on conversations with tool calls, conversations that it leads, and the measure."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from recipes import supervision
from recipes.agents.chat import agent_tokenizer, encode
from recipes.agents.reward import extract_answer
from recipes.agents.task import Problem, Walk, sample_conversation, turn_correctness
from recipes.arithmetic.model import build_model
from recipes.supervision import Graded, Measurement, TrainSettings

#: How far back the heads of the first layer start out looking, from the token before the one to be written: to the
#: letter and the sign of the room, to its number, and to the number of the room before it.
DISTANCES = (9, 10, 13, 40)
#: Four heads a layer, and as many steps as it takes to copy numbers without a fault.
TRAINING = {"steps": 700, "learning_rate": 4e-3, "hidden_size": 128}
#: Tokens of the longest right turn (the sum's) and some more.
TURN_TOKENS = 40
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_END = "<|im_end|>"


@dataclass
class Played:
    """A conversation that a model led.

    Attributes:
        messages: from the prompt to the end.
        tokens: how many the model wrote.
        text: of all but the prompt, as the reward function sees it.
    """

    messages: list[dict[str, Any]]
    tokens: int = 0
    text: str = ""
    ids: list[int] = field(default_factory=list)

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The model's messages."""
        return [message for message in self.messages if message["role"] == "assistant"]


def settings(steps: int | None = None) -> TrainSettings:
    """Settings of the supervision; ``steps`` of a round if they are not the default."""
    return TrainSettings(**{**TRAINING, **({} if steps is None else {"steps": steps})})


def supervise(
    problems: list[Problem], slip: float, settings: TrainSettings, seed: int, progress: bool = True
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast, Callable[[], object]]:
    """A new model, its tokenizer, and a call that trains the model for a round on sampled conversations.

    The problems are all of one spec, so all conversations are equally long. The loss covers what the policy writes,
    and none of what the tools answer. Global torch randomness is seeded.
    """
    torch.manual_seed(seed)
    rng = random.Random(f"supervise:{seed}")
    tokenizer = agent_tokenizer()
    model = build_model(tokenizer, hidden_size=settings.hidden_size, n_layers=settings.n_layers, distances=DISTANCES)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.choices(problems, k=settings.batch_size)
        rows = [encode(tokenizer, sample_conversation(problem, rng, slip)) for problem in chosen]
        ids = torch.tensor([row for row, _ in rows])
        written = torch.tensor([mask for _, mask in rows])
        return ids, ids.masked_fill(written == 0, supervision.IGNORED)

    return model, tokenizer, lambda: supervision.fit_tokens(model, draw, settings, progress)


@torch.no_grad()
def play(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    greedy: bool = False,
    batch_size: int = 512,
) -> list[Played]:
    """One conversation for each problem, turn by turn, at temperature 1 or greedy; the tools are those of the task."""
    found: list[Played] = []
    for first in range(0, len(problems), batch_size):
        found += _play(model, tokenizer, problems[first : first + batch_size], greedy)
    return found


def _play(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem], greedy: bool
) -> list[Played]:
    how = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    games = [Played([{"role": "user", "content": problem.prompt}]) for problem in problems]
    walks = [Walk(*problem.building) for problem in problems]
    for game in games:
        game.ids, _ = encode(tokenizer, game.messages)
    running = list(range(len(games)))
    for _ in range(len(problems[0].building.signs) + 4):  # a few turns more than a right conversation has
        if not running:
            break
        batch = tokenizer.pad({"input_ids": [games[k].ids for k in running]}, padding_side="left", return_tensors="pt")
        out = model.generate(**batch, max_new_tokens=TURN_TOKENS, **how)[:, batch["input_ids"].shape[1] :]
        going_on = []
        for k, row in zip(running, out.tolist(), strict=True):
            end = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
            if _turn(tokenizer, games[k], walks[k], row[:end]):
                going_on.append(k)
        running = going_on
    return games


def _turn(tokenizer: PreTrainedTokenizerFast, game: Played, walk: Walk, written: list[int]) -> bool:
    """Add what the model wrote and what the tool answers; whether the conversation goes on."""
    text = tokenizer.decode(written)
    game.tokens += len(written)
    game.ids += written
    game.text += text
    body = text.removesuffix(_END)
    called = _CALL.search(body)
    message: dict[str, Any] = {"role": "assistant", "content": body if called is None else body[: called.start()]}
    game.messages.append(message)
    if called is None:
        return False
    try:
        function = json.loads(called[1])
        message["tool_calls"] = [{"type": "function", "function": function}]
        answer = _tool(walk, function["name"], function["arguments"])
    except (ValueError, TypeError, KeyError) as error:
        answer = f"error: {error}"
    game.messages.append({"role": "tool", "content": answer})
    ids, _ = encode(tokenizer, game.messages[-1:])
    game.ids += [*tokenizer.encode("\n"), *ids]
    game.text += "\n" + tokenizer.decode(ids)
    return True


def _tool(walk: Walk, name: str, arguments: dict[str, Any]) -> str:
    if name == "walk":
        return walk.call(name, arguments)
    if name == "add":
        return str(arguments["a"] + arguments["b"])
    raise ValueError(f"no tool {name}")


def graded(problems: Sequence[Problem], games: Sequence[Played]) -> list[Graded]:
    """Conversations as the task sees them: a line is a turn of the policy."""
    return [
        Graded(
            right=extract_answer(game.text) == problem.answer,
            lines=turn_correctness(problem, game.turns),
            hard=frozenset(problem.hard_turns),
        )
        for problem, game in zip(problems, games, strict=True)
    ]


def measure(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    seed: int,
    samples: int = 1,
    greedy: bool = False,
) -> Measurement:
    """Accuracies over ``samples`` conversations for each problem. Global torch randomness is seeded."""
    torch.manual_seed(seed)
    asked = [problem for problem in problems for _ in range(samples)]
    games = play(model, tokenizer, asked, greedy=greedy)
    return supervision.summarise([game.tokens for game in games], graded(asked, games))
