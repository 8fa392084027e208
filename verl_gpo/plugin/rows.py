"""The rows of a prompt after its search: re-entry rows, step credit, rows that are replaced, rows that are left out.

verl has stored the root rollouts by then, under the keys ``{uid}_{session}_0``, and the prompt is not yet reported as
finished. So a row can be written again, or be cleared, before the trainer sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import transfer_queue as tq
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from ..core.credit import StepCredit, credited_uid, step_rewards
from ..core.downsample import most_varied
from ..core.result import GroupResult
from ..core.types import ScoredContinuation, Trajectory
from .client import RewardLoopScorer
from .estimators import BY_CRITIC
from .observe.metrics import REENTRY_TAG

PARTITION = "train"


def row_key(uid: str, session: int) -> str:
    """verl's key of the row of a session that has a single output."""
    return f"{uid}_{session}_0"


def credits_of(result: GroupResult, roots: Sequence[Trajectory]) -> dict[int, StepCredit]:
    """Credit of each root that has one, by its index. Roots with the same tokens have the same credit."""
    by_tokens = {
        roots[reentry.anchor].token_ids: reentry.credit for reentry in result.reentries if reentry.credit is not None
    }
    return {index: by_tokens[root.token_ids] for index, root in enumerate(roots) if root.token_ids in by_tokens}


async def credit_rows(
    uid: str, sessions: Sequence[int], roots: Sequence[Trajectory], result: GroupResult, estimator: str
) -> None:
    """Write the credit of the searched responses into their rows.

    For the estimator ``gpo`` it is written into the group id, and the rewards stay as they are. An optimizer with a
    critic gets rewards at the ends of steps, which sum to the reward of the outcome.

    Args:
        uid: of the prompt.
        sessions: of the roots.
        roots: the root rollouts.
        result: of the search.
        estimator: ``algorithm.adv_estimator``.
    """
    credits = credits_of(result, roots)
    if not credits:
        return
    fields: list[dict[str, Any]] = []
    for index, credit in credits.items():
        if estimator in BY_CRITIC:
            fields.append({"rm_scores": step_rewards(credit, roots[index].reward, roots[index].written)})
        else:
            fields.append({"uid": credited_uid(uid, credit)})
    await tq.async_kv_batch_put(
        keys=[row_key(uid, sessions[index]) for index in credits],
        partition_id=PARTITION,
        fields=list_of_dict_to_tensordict(fields),
        tags=[{}] * len(fields),
    )


async def replace_rows(
    put: Callable[..., Awaitable[None]],
    pairs: Sequence[tuple[AgentLoopOutput, Mapping[str, Any]]],
    roots: Sequence[Trajectory],
    result: GroupResult,
    scorer: RewardLoopScorer,
) -> list[ScoredContinuation]:
    """Write a rollout from the reset state into the row of its anchor, which it replaces.

    The new row keeps the key, the session and the group id of the anchor. Its log-probs are those of its two parts, and
    its mask is 1 on all that the policy wrote: the loss is on the kept prefix as well.

    Args:
        put: verl's method that stores an output.
        pairs: output and columns of each root.
        roots: the same root rollouts.
        result: of the search.
        scorer: makes rows.

    Returns:
        The rollouts that are rows now.
    """
    replaced = []
    for reentry in result.reentries:
        for group in (group for group in reentry.groups if group.critical):
            rollout = group.rollouts[0]
            output = scorer.row(group.prefix, roots[reentry.anchor].log_probs, rollout)
            kept, written = len(group.prefix), roots[reentry.anchor].written
            own = [1] * kept if written is None else written[:kept]
            output.response_mask = [*own, *output.response_mask[kept:]]
            await put(output, False, **pairs[reentry.anchor][1])
            replaced.append(rollout)
    return replaced


async def leave_out_rows(
    uid: str, rollouts: Mapping[int, tuple[AgentLoopOutput | list[AgentLoopOutput], Any]], kept: int
) -> list[int]:
    """Clear the rows that are not trained on with ``rows=downsampled``; the sessions of the others."""
    sessions = sorted(rollouts)
    rewards = [_reward(rollouts[session][0]) for session in sessions]
    chosen = [sessions[index] for index in most_varied(rewards, kept)]
    dropped = [row_key(uid, session) for session in sessions if session not in chosen]
    if dropped:
        await tq.async_kv_clear(keys=dropped, partition_id=PARTITION)
    return chosen


def _reward(output: AgentLoopOutput | list[AgentLoopOutput]) -> float:
    last = output[-1] if isinstance(output, list) else output
    return float("nan") if last.reward_score is None else float(last.reward_score)


async def store_reentries(
    put: Callable[..., Awaitable[None]],
    uid: str,
    n: int,
    rows: Sequence[tuple[AgentLoopOutput, str]],
    columns: Mapping[str, Any],
) -> None:
    """Write re-entry rollouts as sessions of their own, from ``n`` on, then give all of them their group ids.

    Args:
        put: verl's method that stores the output of a session.
        uid: of the prompt.
        n: number of rows of the prompt without them.
        rows: verl's output, and the group id, of each.
        columns: the prompt's columns in the data.
    """
    if not rows:
        return
    sessions = range(n, n + len(rows))
    keys = [row_key(uid, session) for session in sessions]
    written = await asyncio.gather(
        *(
            put(output, False, **{**columns, "session_id": session})
            for session, (output, _) in zip(sessions, rows, strict=True)
        ),
        return_exceptions=True,
    )
    try:
        for error in written:
            if isinstance(error, BaseException):
                raise error
        # verl names the key by the prompt's uid and writes the same uid into the column, hence the second write.
        await tq.async_kv_batch_put(
            keys=keys,
            partition_id=PARTITION,
            fields=list_of_dict_to_tensordict([{"uid": group_id} for _, group_id in rows]),
            tags=[{REENTRY_TAG: True}] * len(rows),
        )
    except BaseException:
        # Re-entry rows that still have the prompt's group id must not be trained on.
        stored = [key for key, error in zip(keys, written, strict=True) if not isinstance(error, BaseException)]
        await tq.async_kv_clear(keys=stored, partition_id=PARTITION)
        raise
