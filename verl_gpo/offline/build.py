"""Build preference pairs: GPO's Procedure II, and its two baselines.

    python -m verl_gpo.offline.build --model M --data P.parquet --reward FILE.py --out DIR --method gpo n_mc=8

draws rollouts through vLLM, finds critical steps, draws continuations from the states before them, and pairs those
with different outcomes. All draws are kept in ``DIR/records.jsonl``. Called again, the command continues where it
stopped. Called with other options for the choice of pairs, it chooses them again and draws nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from ..core.segment.steps import configured_splitter
from ..core.types import Sampler, SamplingError
from ..inference.conversation import ConversationSampler
from ..inference.engine import VLLMEngine, VLLMSampler, usable_ids
from ..inference.fingerprint import digest
from ..inference.launch import device_groups, draw_share, exit_status, locked, print_failures, spread, visible_devices
from ..inference.task import FunctionScorer, Prompt, UnusablePrompt
from . import build_report
from .build_settings import BuildSettings, make_settings, parse_args
from .explore import Explorer
from .records import Record, Task, Writer, file_of, merge, read_records

#: Number of prompts that are started under a token budget before the cost of one is known.
_FIRST = 8
#: Command of the process of one engine.
_COMMAND = (sys.executable, "-m", "verl_gpo.offline.build")


def build_engine(settings: BuildSettings, seed: int) -> VLLMEngine:
    """The engine that draws."""
    return VLLMEngine(settings.model, seed=seed, **settings.engine)


def build_tokenizer(settings: BuildSettings) -> Any:
    """The tokenizer, without the engine."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(settings.model)


def build_sampler(settings: BuildSettings, engine: Any, prompt: Prompt, prompt_ids: list[int]) -> Sampler:
    """Of one prompt: with tools its answers have several turns."""
    timeout = settings.config.stall_timeout
    if settings.toolbox is None:
        return VLLMSampler(engine, prompt_ids, timeout)
    given = prompt.extra_info.get("tools_kwargs")
    return ConversationSampler(
        engine, prompt_ids, settings.toolbox, given, settings.max_turns, timeout, settings.template
    )


def missing(settings: BuildSettings, done: Sequence[Record]) -> list[Task]:
    """The tasks that are still to be drawn, if the budget allows it."""
    if settings.token_budget and sum(record.cost for record in done) >= settings.token_budget:
        return []
    found = {record.task for record in done}
    every = (Task(visit, index) for visit in range(settings.visits) for index in range(len(settings.prompts)))
    return [task for task in every if task not in found]


def draw(settings: BuildSettings, shard: int, shards: int, started: Callable[[int], Callable[[], None]]) -> list[str]:
    """Draw one engine's share into its part.

    Args:
        started: called with the number of prompts when the engine has started; the function that it returns is called
            after each prompt.

    Returns:
        One line for each prompt that could not be drawn. Only these are missing.
    """
    done, own = read_records(file_of(settings.out)), read_records(file_of(settings.out, (shard, shards)))
    build_report.check_records(settings, [*done, *own])
    found = {record.task for record in own}
    tasks = [task for task in missing(settings, done)[shard::shards] if task not in found]
    # The rest of the budget is divided evenly among the engines; 0 is no limit.
    left = -(-(settings.token_budget - sum(record.cost for record in done)) // shards) if settings.token_budget else 0
    spent = sum(record.cost for record in own)
    if not tasks or (left and spent >= left):
        return []
    # Requests have no seeds of their own on a CPU, only the engine has one. It differs in each call, because a resumed
    # build would otherwise draw the same random numbers again.
    seed = int(digest(settings.config.seed, shard, shards, len(tasks), tasks[0]), 16) % 2**31
    engine = build_engine(settings, seed)
    try:
        with Writer(settings.out, (shard, shards)) as writer:
            return asyncio.run(_draw(settings, tasks, left, spent, engine, writer, started(len(tasks))))
    finally:
        engine.shutdown()


async def _draw(
    settings: BuildSettings,
    tasks: Sequence[Task],
    budget: int,
    spent: int,
    engine: Any,
    writer: Writer,
    tick: Callable[[], None],
) -> list[str]:
    config = settings.config
    splitter = configured_splitter(config, engine.decode)
    explorer = Explorer(settings.method, config, splitter, settings.response_length, settings.roots, settings.hash)
    failures: list[str] = []
    queue, at_work = deque(tasks), set()
    costs: list[int] = []

    async def visit(task: Task) -> None:
        prompt, problem = settings.prompts[task.index], settings.problems[task.index]
        try:
            # A template that has no place for tools takes no notice of them.
            asked = {**settings.template, "tools": settings.toolbox.schemas} if settings.toolbox else settings.template
            prompt_ids = usable_ids(engine, prompt, asked)
        except UnusablePrompt as error:
            writer.write(Record(task.index, task.visit, problem, (), (), (), {}, 0, settings.hash, str(error)))
            tick()
            return
        sampler = build_sampler(settings, engine, prompt, prompt_ids)
        scorer = FunctionScorer(settings.reward, engine.tokenizer, prompt, config.reward_timeout)
        try:
            record = await explorer.explore(task, problem, prompt_ids, sampler, scorer)
            writer.write(record)
            costs.append(record.cost)
        except SamplingError as error:
            failures.append(f"row {task.index}, visit {task.visit}: {error}")
        tick()

    def wanted() -> bool:
        """Whether to start another prompt, given the expected cost of those in progress."""
        if not budget:
            return len(at_work) < settings.concurrency
        if not costs:
            return len(at_work) < min(settings.concurrency, _FIRST)
        probable = spent + sum(costs) + len(at_work) * sum(costs) / len(costs)
        return len(at_work) < settings.concurrency and probable < budget

    while True:
        while queue and wanted():
            at_work.add(asyncio.create_task(visit(queue.popleft())))
        if not at_work:
            return failures
        done, at_work = await asyncio.wait(at_work, return_when=asyncio.FIRST_COMPLETED)
        for finished in done:
            finished.result()  # raises the task's exception


def _draw_all(settings: BuildSettings, argv: Sequence[str], lock: int, todo: int, console: Console) -> list[str]:
    """Draw what is missing: in this process, or in one process for each engine if there are several."""
    groups = device_groups(visible_devices(), settings.tensor_parallel, settings.engines)[:todo]
    return spread(
        lambda started: draw(settings, 0, 1, started),
        [*_COMMAND, *argv],
        settings.out,
        lambda shard: [file_of(settings.out, shard)],
        groups,
        lock,
        todo,
        "prompts",
        console,
    )


def _merge(settings: BuildSettings) -> list[Record]:
    records = merge(settings.out)
    build_report.check_records(settings, records)
    return records


def build(settings: BuildSettings, argv: Sequence[str], draws: bool, console: Console) -> int:
    """Draw what is missing, and write the pairs. Returns the exit status.

    Raises:
        ValueError: the folder has records of other settings, or is in use.
    """
    failures: list[str] = []
    with locked(settings.out) as lock:
        build_report.check_run(settings)
        build_report.write_run(settings)
        records = _merge(settings)
        todo = len(missing(settings, records))
        if todo and draws:
            try:
                failures = _draw_all(settings, argv, lock, todo, console)
            finally:
                records = _merge(settings)
        if records:
            build_report.write_pairs(settings, records, build_tokenizer(settings), console)
    print_failures(failures)
    left_out = build_report.left_out(settings, records)
    print_failures([f"warning: row {row} is left out: {reason}" for row, reason in left_out.items()], "rows left out")
    if len(left_out) == len(settings.prompts):
        print("verl_gpo: every prompt is left out: there are no pairs", file=sys.stderr)
        return 1
    lacking = len(missing(settings, records))
    if settings.token_budget and lacking == 0 and sum(record.cost for record in records) < settings.token_budget:
        print("verl_gpo: warning: the prompts ran out before the token budget: give more --visits", file=sys.stderr)
    if lacking and (failures or not settings.token_budget):
        print(f"verl_gpo: {lacking} prompts are missing; run the command again to continue", file=sys.stderr)
        return 1 if draws else 0
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parse_args(argv)

    def run() -> int:
        settings = make_settings(args)
        if args.shard:
            build_report.check_run(settings)
            build_report.write_run(settings)
            return draw_share(args.shard, partial(draw, settings))
        return build(settings, argv, not args.merge, Console(highlight=False))

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
