"""Prompts and rewards as verl has them: a parquet file, and a ``compute_score`` function in a Python file."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.types import Continuation, ScoredContinuation, ScoringError, Tokens


@dataclass(frozen=True)
class Prompt:
    """One row of a verl parquet file.

    Attributes:
        index: number of the row in its file.
        messages: the chat that the response follows.
        data_source, ground_truth, extra_info: what the reward function is given.
    """

    index: int
    messages: list[dict[str, Any]]
    data_source: str
    ground_truth: Any
    extra_info: dict[str, Any]

    def token_ids(self, tokenizer: Any) -> list[int]:
        """The chat as verl's agent loop tokenizes it, up to where the response begins."""
        ids = tokenizer.apply_chat_template(self.messages, add_generation_prompt=True, tokenize=True)
        return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


def read_prompts(path: str | Path, limit: int | None = None) -> list[Prompt]:
    """Read the first ``limit`` rows of a parquet file in verl's schema.

    Raises:
        ValueError: the file is missing, is no parquet file, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"data={str(path)!r}: not a readable parquet file ({error})") from error
    missing = {"prompt", "data_source", "reward_model"} - set(table.column_names)
    if missing:
        raise ValueError(
            f"data={str(path)!r}: no column {', '.join(sorted(missing))}; verl's schema has prompt, data_source, "
            "reward_model and extra_info"
        )
    rows = table.slice(0, limit).to_pylist()
    return [
        Prompt(
            index, row["prompt"], row["data_source"], row["reward_model"]["ground_truth"], row.get("extra_info") or {}
        )
        for index, row in enumerate(rows)
    ]


def load_reward(where: str) -> Callable[..., Any]:
    """Load ``FILE.py`` or ``FILE.py:NAME`` (``compute_score`` where no name is given).

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


class FunctionScorer:
    """A reward function as one prompt's :class:`~verl_gpo.core.types.Scorer`.

    Args:
        compute_score: called as verl calls it, in a thread, so that a slow one does not hold up the engine.
        tokenizer: decodes responses, special tokens left out.
        prompt: the row that the reward function is given.
        timeout: seconds after which a reward counts as lost; None for no bound.
    """

    def __init__(self, compute_score: Callable[..., Any], tokenizer: Any, prompt: Prompt, timeout: float | None = None):
        self._compute_score, self._tokenizer, self._prompt = compute_score, tokenizer, prompt
        self._timeout = timeout

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        reward = asyncio.to_thread(self.reward, prefix + continuation.token_ids)
        try:
            return ScoredContinuation(continuation, await asyncio.wait_for(reward, self._timeout))
        except asyncio.TimeoutError as error:
            raise ScoringError(f"no reward within {self._timeout:g} s") from error

    def reward(self, token_ids: Tokens) -> float:
        """Reward of a complete response.

        Raises:
            ScoringError: the function raised, or returned neither a number nor a dict with ``score``.
        """
        prompt = self._prompt
        try:
            text = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
            result = self._compute_score(
                data_source=prompt.data_source,
                solution_str=text,
                ground_truth=prompt.ground_truth,
                extra_info=prompt.extra_info,
            )
            return float(result["score"] if isinstance(result, dict) else result)
        except Exception as error:
            raise ScoringError(repr(error)) from error
