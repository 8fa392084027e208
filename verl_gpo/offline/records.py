"""The rollouts of each prompt on disk, from which the pairs are chosen afterwards.

``records.jsonl`` has one record in each line. Each process appends to a file of its own,
``records.shard-I-of-N.jsonl``, which the next merge adds to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..inference import jsonl
from ..inference.launch import locked


class Task(NamedTuple):
    """One visit of one prompt: all prompts are visited once, in the order of their file, before the second visits."""

    visit: int
    index: int


@dataclass(frozen=True)
class Rollout:
    """A continuation of a state, and the reward of the whole response.

    Attributes:
        token_ids: its tokens, without those of the state.
        finish: vLLM's reason: ``stop``, or ``length`` where it was cut off.
        written: 1 for each token that the policy wrote, 0 for those of tools and the chat template; None: all.
        messages: what it says in a conversation with tools, from the turn on in which it began; otherwise None.
    """

    token_ids: tuple[int, ...]
    reward: float
    finish: str
    written: tuple[int, ...] | None = None
    messages: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True)
class State:
    """Rollouts from one state.

    Attributes:
        prefix: response tokens that are kept; none for the prompt itself.
        step, steps: number ``k`` of the state, and the steps ``K`` of the response that it is a state of.
        critical: whether the critical step resets to it.
        advantage, confidence: of the critical step; None if there is none, or if the search needed no value.
        messages: of a conversation with tools, between the prompt and the state; None if there is no such
            conversation, or if the state lies within a turn.
    """

    prefix: tuple[int, ...]
    step: int
    steps: int
    critical: bool
    advantage: float | None
    confidence: float | None
    rollouts: tuple[Rollout, ...]
    messages: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True)
class Record:
    """One visit of one prompt.

    Attributes:
        index, visit: row of the data, and how often it had been visited before.
        problem: hash of the row.
        prompt_ids: the chat, tokenized, up to where the response begins.
        roots: rollouts from the prompt.
        states: reset states and their rollouts; empty for the method ``plain``.
        tokens: tokens generated, by purpose: ``root``, ``value`` (search), ``reentry`` (rollouts from reset states).
        failures: number of rollouts and rewards that failed.
        settings: hash of the settings that it was drawn with.
        left_out: why the engine cannot process the prompt, so that nothing was drawn; "" otherwise.
    """

    index: int
    visit: int
    problem: str
    prompt_ids: tuple[int, ...]
    roots: tuple[Rollout, ...]
    states: tuple[State, ...]
    tokens: dict[str, int]
    failures: int
    settings: str
    left_out: str = ""

    @property
    def task(self) -> Task:
        return Task(self.visit, self.index)

    @property
    def cost(self) -> int:
        """All tokens that were generated."""
        return sum(self.tokens.values())

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def build(cls, raw: dict[str, Any]) -> Record:
        states = (
            State(
                **{
                    **state,
                    "prefix": tuple(state["prefix"]),
                    "rollouts": _rollouts(state["rollouts"]),
                    "messages": _tuple(state.get("messages")),
                }
            )
            for state in raw["states"]
        )
        return cls(
            **{
                **raw,
                "prompt_ids": tuple(raw["prompt_ids"]),
                "roots": _rollouts(raw["roots"]),
                "states": tuple(states),
            }
        )


def _rollouts(raw: Iterable[dict[str, Any]]) -> tuple[Rollout, ...]:
    return tuple(
        Rollout(
            **{
                **rollout,
                "token_ids": tuple(rollout["token_ids"]),
                "written": _tuple(rollout.get("written")),
                "messages": _tuple(rollout.get("messages")),
            }
        )
        for rollout in raw
    )


def _tuple(given: list[Any] | None) -> tuple[Any, ...] | None:
    return None if given is None else tuple(given)


def file_of(out: Path, shard: tuple[int, int] | None = None) -> Path:
    """The folder's file, or the file of one process."""
    part = f".shard-{shard[0]}-of-{shard[1]}" if shard else ""
    return out / f"records{part}.jsonl"


def read_records(path: Path) -> list[Record]:
    """Records of a file; see :func:`verl_gpo.inference.jsonl.read`."""
    return jsonl.read(path, Record.build, "record")


def merge(out: Path) -> list[Record]:
    """Merge the processes' files into the folder's file, each task once, and return all in the order of their tasks.

    Raises:
        ValueError: a process is still writing its file.
    """
    own = file_of(out)
    parts = sorted(out.glob(f"{own.stem}.shard-*.jsonl"))
    with ExitStack() as stack:
        for path in parts:
            stack.enter_context(locked(out, _lock_of(path)))
        records = {record.task: record for path in reversed([own, *parts]) for record in read_records(path)}
        ordered = [records[task] for task in sorted(records)]
        if parts:
            jsonl.replace(own, (record.to_line() for record in ordered))
            for path in parts:
                path.unlink()
    return ordered


def _lock_of(part: Path) -> str:
    return f".{part.stem}.lock"


class Writer:
    """Context manager that appends records to one process's file.

    Raises:
        ValueError: on entering, if another process writes the same file.
    """

    def __init__(self, out: Path, shard: tuple[int, int]):
        self._path = file_of(out, shard)
        self._stack = ExitStack()
        self._file: IO[str]

    def __enter__(self) -> Writer:
        self._stack.enter_context(locked(self._path.parent, _lock_of(self._path)))
        # Rewritten without an incomplete last line, to which the next record would be appended.
        jsonl.replace(self._path, (record.to_line() for record in read_records(self._path)))
        self._file = self._stack.enter_context(self._path.open("a", encoding="utf-8"))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def write(self, record: Record) -> None:
        self._file.write(record.to_line())
        self._file.flush()


def within_budget(records: Sequence[Record], budget: int) -> list[Record]:
    """The first records, in order, that together cost at most ``budget`` tokens; all of them where it is 0.

    Several prompts are in progress at once, so more is drawn than a budget allows. Taking the first records, without a
    look at their outcomes, prefers no outcome.
    """
    if not budget:
        return list(records)
    kept, spent = [], 0
    for record in records:
        spent += record.cost
        if spent > budget:
            break
        kept.append(record)
    return kept
