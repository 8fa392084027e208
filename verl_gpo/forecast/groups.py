"""A prompt's rollouts under one method, with the advantages of their tokens: one line of JSON each."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.advantage import group_advantages, reentry_uid
from ..core.credit import credited_advantages
from ..core.downsample import most_varied
from ..core.result import GroupResult
from ..core.types import ScoredContinuation, Trajectory
from ..inference import jsonl
from .methods import Method

#: Group id of the prompt's own rollouts; the ids of a group say only who is compared with whom.
_PROMPT = "prompt"


@dataclass(frozen=True)
class Row:
    """A response that is learnt from.

    Attributes:
        token_ids: of the whole response, kept prefix included.
        start: number of tokens of the prefix, which carries no loss.
        runs: ``(end, advantage)``: the tokens up to ``end`` have this advantage; the last end is that of the response.
    """

    token_ids: tuple[int, ...]
    start: int
    runs: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Drawn:
    """What one method drew for one prompt.

    Attributes:
        method: its name.
        batch: number of the batch that it belongs to.
        prompt: row of the data.
        tokens: all that were generated, whatever for.
        trained: tokens that carry loss, those with the advantage 0 included.
        rows: number of rows, those without an advantage included.
        mixed: for each group of two or more rollouts, whether its rewards differ.
        rewards: of the rollouts from the prompt.
        learnt: the rows that have an advantage.
    """

    method: str
    batch: int
    prompt: int
    tokens: int
    trained: int
    rows: int
    mixed: tuple[bool, ...]
    rewards: tuple[float, ...]
    learnt: tuple[Row, ...]

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Drawn:
        """The reverse of :meth:`to_json`, parsed.

        Raises:
            ValueError, TypeError, KeyError: it is no such record.
        """
        learnt = tuple(
            Row(tuple(row["token_ids"]), row["start"], tuple((int(end), float(value)) for end, value in row["runs"]))
            for row in record["learnt"]
        )
        others = {**record, "mixed": tuple(record["mixed"]), "rewards": tuple(record["rewards"]), "learnt": learnt}
        return cls(**others)


def credited(
    method: Method, batch: int, prompt: int, tokens: int, roots: Sequence[Trajectory], result: GroupResult
) -> Drawn:
    """Roots and re-entry rollouts with the advantages that a training would give them.

    Args:
        method: whose settings they are.
        batch, prompt, tokens: as in :class:`Drawn`.
        roots: rollouts from the prompt.
        result: of the search.
    """
    config = method.config
    kept = range(len(roots))
    if method.kept is not None:
        kept = most_varied([root.reward for root in roots], method.kept)
    credit = {reentry.anchor: reentry.credit for reentry in result.reentries}
    groups = [(_PROMPT, (), [(roots[place].token_ids, roots[place].reward) for place in kept])]
    for reentry in result.reentries:
        for group in reentry.groups:
            rollouts = group.rollouts[: config.reserved_rows or None]
            if len(rollouts) > 1:
                scored = [((*group.prefix, *_ids(one)), one.reward) for one in rollouts]
                groups.append((reentry_uid(_PROMPT, reentry.anchor, group.state), group.prefix, scored))
    rows = [(uid, len(prefix), ids, reward) for uid, prefix, scored in groups for ids, reward in scored]
    places = torch.arange(max(len(ids) for _, _, ids, _ in rows))
    starts_B1 = torch.tensor([start for _, start, _, _ in rows])[:, None]
    ends_B1 = torch.tensor([len(ids) for _, _, ids, _ in rows])[:, None]
    mask_BT = ((places >= starts_B1) & (places < ends_B1)).float()
    # The outcome reward is on the last token, as verl has it.
    rewards_BT = torch.tensor([reward for *_, reward in rows])[:, None] * (places == ends_B1 - 1)
    uids = [uid for uid, *_ in rows]
    advantages_BT = group_advantages(rewards_BT, mask_BT, uids, reentry_weight=config.reentry_weight)
    credits = [*(credit.get(place) for place in kept), *[None] * (len(rows) - len(kept))]
    width = config.reward_high - config.reward_low
    advantages_BT = credited_advantages(advantages_BT, rewards_BT.sum(dim=-1), mask_BT, uids, credits, width)
    return Drawn(
        method.name,
        batch,
        prompt,
        tokens,
        sum(len(ids) - start for _, start, ids, _ in rows),
        len(rows),
        tuple(len({reward for _, reward in scored}) > 1 for _, _, scored in groups if len(scored) > 1),
        tuple(root.reward for root in roots),
        tuple(
            Row(tuple(ids), start, _runs(advantages_T[: len(ids)].tolist(), start))
            for (_, start, ids, _), advantages_T in zip(rows, advantages_BT, strict=True)
            if advantages_T.any()
        ),
    )


def _runs(advantages: Sequence[float], start: int) -> tuple[tuple[int, float], ...]:
    """Neighbouring tokens of one advantage as one run; the first run begins at ``start``."""
    runs, end = [], start
    for advantage, tokens in itertools.groupby(advantages[start:]):
        end += sum(1 for _ in tokens)
        runs.append((end, advantage))
    return tuple(runs)


def _ids(rollout: ScoredContinuation) -> tuple[int, ...]:
    return tuple(rollout.continuation.token_ids)


def read(path: Path) -> list[Drawn]:
    """What a file holds; an incomplete last line is left out.

    Raises:
        ValueError: another line is no record.
    """
    return jsonl.read(path, Drawn.from_json, "group")


def rewrite(path: Path, drawn: Iterable[Drawn]) -> None:
    """The file without an incomplete last line, to which the next record would be appended."""
    jsonl.replace(path, [one.to_json() + "\n" for one in drawn])


def append(path: Path, drawn: Drawn) -> None:
    """Keep a record, so that a crash does not lose it."""
    with path.open("a", encoding="utf-8") as out:
        out.write(drawn.to_json() + "\n")
        out.flush()
        os.fsync(out.fileno())
