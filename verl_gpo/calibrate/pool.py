"""Responses with many continuations at each of their states, on which searches are calibrated.

A pool is a JSONL file with one record for each response, appended when it is finished. An interrupted collection
continues where it stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core.anchors import choose_anchors
from ..core.types import Sampler, SamplingError, Scorer, ScoringError, Splitter, Tokens, Trajectory
from ..inference import jsonl
from ..inference.fingerprint import refuse


@dataclass(frozen=True)
class PooledResponse:
    """One anchor response, its group, and the continuations at its states.

    Attributes:
        prompt: number of the prompt.
        token_ids, log_probs: the response.
        ends: exclusive token positions of the ends of its ``K`` steps.
        reward: its outcome.
        group_rewards, group_tokens: rewards and lengths of all responses of the group, this one first.
        draws: for ``s_1 .. s_{K-1}`` the continuations, each (length in tokens, reward of the whole response).
        response_length: maximal number of tokens of a response when it was collected.
    """

    prompt: int
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...] | None
    ends: tuple[int, ...]
    reward: float
    group_rewards: tuple[float, ...]
    group_tokens: tuple[int, ...]
    draws: tuple[tuple[tuple[int, float], ...], ...]
    response_length: int

    @property
    def values(self) -> list[float]:
        """Reference values of ``s_0 .. s_K`` from all draws, the group at the start, and the outcome at the end."""
        inner = [sum(reward for _, reward in draws) / len(draws) if draws else float("nan") for draws in self.draws]
        return [sum(self.group_rewards) / len(self.group_rewards), *inner, self.reward]

    @property
    def rewards(self) -> list[list[float]]:
        """Rewards of the continuations from ``s_0 .. s_{K-1}``; those from the prompt are the other roots."""
        return [list(self.group_rewards[1:]), *([reward for _, reward in draws] for draws in self.draws)]

    def without_log_probs(self) -> PooledResponse:
        """The same response, as from an engine that reports no log-probs."""
        return replace(self, log_probs=None)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> PooledResponse:
        record = json.loads(line)
        log_probs = record["log_probs"]
        return cls(
            **{
                **record,
                "token_ids": tuple(record["token_ids"]),
                "log_probs": None if log_probs is None else tuple(log_probs),
                "ends": tuple(record["ends"]),
                "group_rewards": tuple(record["group_rewards"]),
                "group_tokens": tuple(record["group_tokens"]),
                "draws": tuple(tuple((int(t), float(r)) for t, r in draws) for draws in record["draws"]),
            }
        )


def read_pool(path: Path) -> list[PooledResponse]:
    """Read the responses collected so far; an incomplete last line is left out."""
    if not path.exists():
        return []
    responses = []
    for line in path.read_text().splitlines():
        try:
            responses.append(PooledResponse.from_json(line))
        except json.JSONDecodeError:
            break
    return responses


def check_pool(out: Path, drawn_with: dict[str, Any]) -> None:
    """Refuse to mix responses of different settings in one folder, and write the present settings to it.

    A folder without ``run.json`` gets the settings of its next call.

    Raises:
        ValueError: names the settings that differ, with both values.
    """
    file = out / "run.json"
    if file.is_file():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}: cannot be read ({error})") from error
        refuse(out, there, drawn_with, "responses")
    jsonl.replace(file, [json.dumps({"settings": drawn_with}, indent=1) + "\n"])


async def pool_prompt(
    prompt: int,
    sampler: Sampler,
    scorer: Scorer,
    splitter: Splitter,
    response_length: int,
    roots: int,
    reference: int,
    outcome: str = "any",
    solved_reward: float = 0.5,
) -> PooledResponse | None:
    """Sample a group, and ``reference`` continuations at every inner state of its first response of that outcome.

    Returns:
        None if the group has no response with the wanted outcome and at least two steps.
    """

    async def draw(prefix: Tokens, number: int) -> tuple[Tokens, tuple[float, ...] | None, float] | None:
        try:
            continuation = await sampler.sample(prefix, response_length - len(prefix), number)
            scored = await scorer.score(prefix, continuation)
        except (SamplingError, ScoringError):
            return None
        return continuation.token_ids, continuation.log_probs, scored.reward

    group = [root for root in await asyncio.gather(*(draw((), n) for n in range(roots))) if root is not None]
    trajectories = [Trajectory(*root) for root in group]
    candidates = (trajectories[anchor] for anchor in choose_anchors(trajectories, 0, outcome, solved_reward))
    split = ((root, tuple(splitter(root.token_ids, root.log_probs))) for root in candidates)
    root, ends = next(((root, ends) for root, ends in split if len(ends) > 1), (None, ()))
    if root is None:
        return None
    ordered = [root, *(other for other in trajectories if other is not root)]
    states = [root.token_ids[:end] for end in ends[:-1]]
    drawn = await asyncio.gather(
        *(draw(state, roots + k * reference + n) for k, state in enumerate(states) for n in range(reference))
    )
    return PooledResponse(
        prompt,
        root.token_ids,
        root.log_probs,
        ends,
        root.reward,
        tuple(other.reward for other in ordered),
        tuple(len(other.token_ids) for other in ordered),
        tuple(
            tuple((len(d[0]), d[2]) for d in drawn[k * reference : (k + 1) * reference] if d is not None)
            for k in range(len(states))
        ),
        response_length,
    )


async def collect(
    path: Path,
    prompts: Sequence[int],
    pool_one: Callable[[int], Awaitable[PooledResponse | None]],
    wanted: int,
    at_once: int = 4,
    progress: Callable[[int], None] = lambda done: None,
) -> list[PooledResponse]:
    """Collect ``wanted`` responses into ``path``, a few prompts at a time; responses that it already has are kept."""
    pool = read_pool(path)
    seen = {response.prompt for response in pool}
    queue = iter([prompt for prompt in prompts if prompt not in seen])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Rewritten without an incomplete last line, to which the next record would be appended.
    whole = path.with_suffix(".whole")
    whole.write_text("".join(response.to_json() + "\n" for response in pool))
    os.replace(whole, path)
    progress(len(pool))

    async def work() -> None:
        for prompt in queue:
            if len(pool) >= wanted:
                return
            response = await pool_one(prompt)
            if response is None or len(pool) >= wanted:
                continue
            pool.append(response)
            with path.open("a") as out:
                out.write(response.to_json() + "\n")
                out.flush()
                os.fsync(out.fileno())
            progress(len(pool))

    await asyncio.gather(*(work() for _ in range(at_once)))
    return pool
