"""Prompts and rewards as verl has them: a parquet file, and a ``compute_score`` function in a Python file."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.types import Continuation, ScoredContinuation, ScoringError, Tokens
from ..data.columns import ColumnError, shown, text
from ..data.parquet import to_rows


class UnusablePrompt(ValueError):
    """A prompt that the engine can never process; the message is the reason."""


@dataclass(frozen=True)
class Prompt:
    """One row of a verl parquet file.

    Attributes:
        index: number of the row in its file.
        messages: the chat that the response follows.
        data_source, ground_truth, extra_info: arguments of the reward function.
    """

    index: int
    messages: list[dict[str, Any]]
    data_source: str
    ground_truth: Any
    extra_info: dict[str, Any]

    def token_ids(self, tokenizer: Any, template: Mapping[str, Any] | None = None) -> list[int]:
        """The chat as verl's agent loop tokenizes it, up to where the response begins.

        Args:
            template: arguments of the chat template, verl's ``data.apply_chat_template_kwargs``.

        Raises:
            UnusablePrompt: the chat template refuses the messages.
        """
        try:
            ids = tokenizer.apply_chat_template(
                self.messages, add_generation_prompt=True, tokenize=True, **(template or {})
            )
        except Exception as error:  # a template may raise anything
            said = " ".join(str(error).split())
            raise UnusablePrompt(f"the chat template refuses it ({type(error).__name__}: {said})") from error
        return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


_COLUMNS = ("prompt", "data_source", "reward_model", "extra_info")


def read_prompts(path: str | Path, limit: int | None = None, answers_are_text: bool = False) -> list[Prompt]:
    """Read the first ``limit`` rows of a parquet file in verl's schema.

    Args:
        answers_are_text: whether the shared grader reads the ground truths, which takes text and numbers only.

    Raises:
        ValueError: the file is missing, is not a parquet file, lacks a column, or has a cell that cannot be used; the
            message names row and column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = f"data={str(path)!r}"
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{where}: not a readable parquet file ({' '.join(str(error).split())})") from error
    missing = set(_COLUMNS[:3]) - set(table.column_names)
    if missing:
        raise ValueError(
            f"{where}: no column {', '.join(sorted(missing))}; verl's schema has {', '.join(_COLUMNS)}, and the "
            f"columns found are {', '.join(table.column_names)}"
        )
    kept = table.select([column for column in _COLUMNS if column in table.column_names])
    prompts = []
    for index, row in enumerate(to_rows(kept.slice(0, limit), where)):
        try:
            prompts.append(_prompt(index, row, answers_are_text))
        except ColumnError as error:
            raise ValueError(f"{where}, row {index}, {error}") from error
    return prompts


def _prompt(index: int, row: dict[str, Any], answers_are_text: bool) -> Prompt:
    messages, model, extra = row["prompt"], row["reward_model"], row.get("extra_info")
    if not isinstance(messages, list) or not messages:
        raise ColumnError("prompt", f"must be a list of messages with role and content, and is {shown(messages)}")
    for number, message in enumerate(messages):
        for key in ("role", "content"):
            value = message.get(key) if isinstance(message, dict) else None
            if not isinstance(value, str):
                raise ColumnError("prompt", f"message {number}: {key} must be text, and is {shown(value)}")
    if not isinstance(model, dict) or "ground_truth" not in model:
        raise ColumnError("reward_model", f"must be an object with ground_truth, and is {shown(model)}")
    truth = model["ground_truth"]
    if truth is None or (isinstance(truth, float) and not math.isfinite(truth)):
        raise ColumnError("reward_model", f"ground_truth must be an answer, and is {shown(truth)}")
    if answers_are_text and not isinstance(truth, (str, int, float)):
        raise ColumnError("reward_model", f"ground_truth must be text or a number, and is {shown(truth)}")
    if extra is not None and not isinstance(extra, dict):
        raise ColumnError("extra_info", f"must be an object or null, and is {shown(extra)}")
    return Prompt(index, messages, text(row, "data_source"), truth, extra or {})


def load_reward(where: str) -> Callable[..., Any]:
    """Load ``FILE.py`` or ``FILE.py:NAME`` (``compute_score`` if no name is given).

    Raises:
        ValueError: no such file, or no such function in it.
    """
    path, _, name = where.partition(":")
    name = name or "compute_score"
    if not Path(path).is_file():
        raise ValueError(f"reward={where!r}: no such file; give FILE.py or FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(f"_reward_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"reward={where!r}: the file has no function {name!r}")
    return function


async def call_reward(compute_score: Callable[..., Any], prompt: Prompt, response: str) -> Any:
    """Call a reward function as verl's reward manager does, and return its result.

    A coroutine function is awaited; any other runs in a thread, so that a slow one does not block the engine.
    """
    row = {
        "data_source": prompt.data_source,
        "solution_str": response,
        "ground_truth": prompt.ground_truth,
        "extra_info": prompt.extra_info,
    }
    if inspect.iscoroutinefunction(compute_score):
        return await compute_score(**row)
    return await asyncio.to_thread(compute_score, **row)


class FunctionScorer:
    """A reward function as one prompt's :class:`~verl_gpo.core.types.Scorer`.

    Args:
        compute_score: see :func:`call_reward`.
        tokenizer: decodes responses, special tokens left out.
        prompt: the row that the reward function is given.
        timeout: seconds after which a reward counts as failed; None for no limit.
    """

    def __init__(self, compute_score: Callable[..., Any], tokenizer: Any, prompt: Prompt, timeout: float | None = None):
        self._compute_score, self._tokenizer, self._prompt = compute_score, tokenizer, prompt
        self._timeout = timeout

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        try:
            reward = await asyncio.wait_for(self.reward((*prefix, *continuation.token_ids)), self._timeout)
        except asyncio.TimeoutError as error:
            raise ScoringError(f"no reward within {self._timeout:g} s") from error
        return ScoredContinuation(continuation, reward)

    async def reward(self, token_ids: Tokens) -> float:
        """Reward of a complete response.

        Raises:
            ScoringError: the function raised, or returned neither a finite number nor a dict with one as ``score``.
        """
        try:
            response = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
            result = await call_reward(self._compute_score, self._prompt, response)
            reward = float(result["score"] if isinstance(result, dict) else result)
        except Exception as error:
            raise ScoringError(repr(error)) from error
        if not math.isfinite(reward):
            raise ScoringError(f"the reward function returned {reward}")
        return reward


def check_reward(compute_score: Callable[..., Any], prompts: Sequence[Prompt]) -> None:
    """Grade an empty response to the first row of each data source, to find errors before anything is drawn.

    Raises:
        ValueError: the function fails; the message names row and data source.
    """
    for prompt in {prompt.data_source: prompt for prompt in reversed(prompts)}.values():
        try:
            asyncio.run(FunctionScorer(compute_score, _Nothing(), prompt).reward(()))
        except ScoringError as error:
            raise ValueError(f"fails on row {prompt.index} ({prompt.data_source}): {error}") from error


class _Nothing:
    """A tokenizer whose decoded text is always empty."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        return ""
