"""One engine draws and grades its share of the samples."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ..core.types import SamplingError, ScoringError
from ..inference.engine import usable_ids
from ..inference.fingerprint import digest
from ..inference.task import UnusablePrompt
from .grading import grade
from .samples import REFUSED, Sample, Task, Writer, deal, file_of, missing, read_samples
from .settings import EvaluationSettings


def build_engine(settings: EvaluationSettings, seed: int) -> Any:
    """The engine, a :class:`~verl_gpo.inference.engine.VLLMEngine`."""
    from ..inference.engine import VLLMEngine

    return VLLMEngine(settings.model, seed=seed, **settings.engine)


def share(settings: EvaluationSettings, shard: int, shards: int) -> list[Task]:
    """The tasks of one engine: its share of the missing samples, without those that it has drawn already."""
    done = {sample.task for name in settings.benchmarks for sample in read_samples(file_of(settings.out, name))}
    part = (shard, shards)
    own = {sample.task for name in settings.benchmarks for sample in read_samples(file_of(settings.out, name, part))}
    return [task for task in deal(missing(settings.sizes, done), shard, shards) if task not in own]


def draw(
    settings: EvaluationSettings, shard: int, shards: int, started: Callable[[int], Callable[[], None]]
) -> list[str]:
    """Draw one engine's share into its files.

    Args:
        started: called with the number of samples when the engine has started; its result is called after each sample.

    Returns:
        One line for each sample that could not be drawn or graded. Only these are missing.
    """
    tasks = share(settings, shard, shards)
    if not tasks:
        return []
    # vLLM's CPU backend ignores seeds of single requests, and on a GPU they slow sampling down, so only the engine has
    # a seed. It differs in each call, because a resumed run would otherwise draw the same random numbers again.
    seed = int(digest(settings.seed, shard, shards, len(tasks), tasks[0]), 16) % 2**31
    engine = build_engine(settings, seed)
    try:
        with Writer(settings.out, (shard, shards)) as writer:
            return asyncio.run(_draw(settings, tasks, engine, writer, started(len(tasks))))
    finally:
        engine.shutdown()


async def _draw(
    settings: EvaluationSettings, tasks: Sequence[Task], engine: Any, writer: Writer, tick: Callable[[], None]
) -> list[str]:
    failures: list[str] = []
    queue = iter(tasks)

    async def work() -> None:
        for task in queue:
            try:
                writer.write(await _one(settings, task, engine))
            except (SamplingError, ScoringError) as error:
                failures.append(f"{task.benchmark}, row {task.index}, sample {task.sample}: {error}")
            tick()

    await asyncio.gather(*(work() for _ in range(min(settings.concurrency, len(tasks)))))
    return failures


async def _one(settings: EvaluationSettings, task: Task, engine: Any) -> Sample:
    benchmark = settings.benchmarks[task.benchmark]
    prompt = benchmark.prompts[task.index]
    try:
        prompt_ids = usable_ids(engine, prompt, settings.template)
    except UnusablePrompt as error:
        # The problem counts as not answered; without it the score would be that of another benchmark.
        response, tokens, finish = "", 0, f"{REFUSED}{error}"
    else:
        continuation = await engine.generate(prompt_ids, settings.max_tokens)
        response = engine.tokenizer.decode(list(continuation.token_ids), skip_special_tokens=True)
        tokens = len(continuation.token_ids)
        finish = continuation.source or ("length" if tokens >= settings.max_tokens else "stop")
    verdict = await grade(settings.reward, prompt, response)
    return Sample(
        task.benchmark,
        task.index,
        task.sample,
        response,
        verdict.prediction,
        verdict.score,
        verdict.accuracy,
        tokens,
        finish,
        benchmark.problems[task.index],
        settings.hash,
    )
