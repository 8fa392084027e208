"""Draws groups as each method would in a training, batch by batch, until each batch has its tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.reentry import ReentryProcedure
from ..core.result import GroupResult
from ..core.types import Sampler, SamplingError, Scorer, ScoringError, Splitter, Trajectory
from .groups import Drawn, append, credited
from .methods import Method


@dataclass(frozen=True)
class Source:
    """One prompt, ready to be sampled from.

    Attributes:
        prompt: row of the data.
        sampler, scorer: of this prompt.
    """

    prompt: int
    sampler: Sampler
    scorer: Scorer


async def roots(source: Source, number: int, response_length: int, seed: int) -> list[Trajectory]:
    """Rollouts from the prompt.

    Raises:
        SamplingError, ScoringError: one of them failed.
    """

    async def draw(place: int) -> Trajectory:
        continuation = await source.sampler.sample((), response_length, seed + place)
        return (await source.scorer.score((), continuation)).trajectory()

    return list(await asyncio.gather(*map(draw, range(number))))


async def draw_group(
    method: Method, source: Source, splitter: Splitter, response_length: int, batch: int, seed: int
) -> Drawn | None:
    """A method's rollouts for one prompt; None if one of the roots failed, as a training would leave such a prompt out.

    With ``rows=matched`` further roots take the places that re-entry rollouts leave free.
    """
    config = method.config
    procedure = ReentryProcedure(config, splitter, response_length)
    try:
        group = await roots(source, method.roots, response_length, seed)
        result = await procedure.run(group, source.sampler, source.scorer, f"{seed}")
        free = config.reserved_rows - _added(result, config.reserved_rows)
        if free > 0:
            group += await roots(source, free, response_length, seed + method.roots)
    except (SamplingError, ScoringError):
        return None
    tokens = sum(len(root.token_ids) for root in group) + sum(usage.tokens for usage in result.usage.values())
    return credited(method, batch, source.prompt, tokens, group, result)


def _added(result: GroupResult, most: int) -> int:
    groups = [group for reentry in result.reentries for group in reentry.groups]
    return sum(min(len(group.rollouts), most) for group in groups if len(group.rollouts) > 1)


def prompts_of(batch: int, batches: int, prompts: Sequence[int]) -> Iterator[int]:
    """Prompts of a batch, in order: every ``batches``-th, so that no two batches share one; from the start if it ends.

    The order is the same for all methods, so their batches have prompts in common.
    """
    mine = prompts[batch::batches]
    while mine:
        yield from mine


async def fill(
    method: Method,
    batches: int,
    tokens: int,
    prompts: Sequence[int],
    source_of: Callable[[int], Source],
    splitter: Splitter,
    response_length: int,
    there: Sequence[Drawn],
    path: Path,
    progress: Callable[[int], None] = lambda tokens: None,
    most_groups: int | None = None,
) -> list[Drawn]:
    """All batches of a method, drawn at the same time; each ends with the group that reaches its tokens.

    Args:
        method: what is drawn.
        batches: their number.
        tokens: of each.
        prompts: rows of the data, in the order in which they are asked.
        source_of: a row's sampler and scorer.
        splitter: response tokens to step ends.
        response_length: most tokens of a response.
        there: what was drawn by an earlier call that was interrupted.
        path: where each group is kept.
        progress: called with the number of tokens of each group.
        most_groups: a batch also ends with this number of groups.

    Returns:
        The groups of the method, those that were there included.

    Raises:
        ValueError: there are fewer prompts than batches, or ten groups in a row failed.
    """
    if len(prompts) < batches:
        raise ValueError(f"{len(prompts)} prompts are too few for {batches} batches without a common prompt")
    found = [one for one in there if one.method == method.name]

    async def work(batch: int) -> None:
        mine = [one for one in found if one.batch == batch]
        spent, failed = sum(one.tokens for one in mine), 0
        done = done_before = len(mine)
        asked = prompts_of(batch, batches, prompts)
        for number, prompt in enumerate(asked):
            if spent >= tokens or done == most_groups:
                return
            if number < done_before:
                continue  # an earlier call has drawn it
            seed = (batch * 1_000_003 + number) * 64
            drawn = await draw_group(method, source_of(prompt), splitter, response_length, batch, seed)
            if drawn is None:
                failed += 1
                if failed >= 10:
                    raise ValueError(f"{method.name}: ten prompts in a row gave no rollouts with rewards")
                continue
            failed = 0
            spent, done = spent + drawn.tokens, done + 1
            found.append(drawn)
            append(path, drawn)
            progress(drawn.tokens)

    await asyncio.gather(*(work(batch) for batch in range(batches)))
    return found
