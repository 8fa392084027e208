"""Build preference pairs: GPO's Procedure II, and its two baselines.

    python -m verl_gpo.offline.build --model M --data P.parquet --reward FILE.py --out DIR --method gpo n_mc=8

draws rollouts through vLLM, finds critical steps, draws continuations from the states before them, and pairs those
with different outcomes. What was drawn is kept in ``DIR/records.jsonl``: called again, the command goes on where it
stopped; called with other options of the choice of pairs, it chooses anew and draws nothing.
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
from ..core.types import SamplingError
from ..inference.engine import VLLMEngine, VLLMSampler
from ..inference.fingerprint import digest
from ..inference.launch import device_groups, draw_share, exit_status, locked, print_failures, spread, visible_devices
from ..inference.task import FunctionScorer
from . import build_report
from .explore import Explorer
from .plan import Plan, make_plan, parse_args
from .records import Record, Task, Writer, file_of, merge, read_records

#: Prompts that are begun within a token budget before it is known what one costs.
_FIRST = 8
#: What a process of one engine runs.
_COMMAND = (sys.executable, "-m", "verl_gpo.offline.build")


def build_engine(plan: Plan, seed: int) -> VLLMEngine:
    """The engine that draws."""
    return VLLMEngine(plan.model, seed=seed, **plan.engine)


def build_tokenizer(plan: Plan) -> Any:
    """The tokenizer, without the engine."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(plan.model)


def missing(plan: Plan, done: Sequence[Record]) -> list[Task]:
    """What is still to be drawn, should the budget allow it."""
    if plan.token_budget and sum(record.cost for record in done) >= plan.token_budget:
        return []
    found = {record.task for record in done}
    every = (Task(visit, index) for visit in range(plan.visits) for index in range(len(plan.prompts)))
    return [task for task in every if task not in found]


def draw(plan: Plan, shard: int, shards: int, started: Callable[[int], Callable[[], None]]) -> list[str]:
    """Draw one engine's share into its part.

    Args:
        started: called with the number of prompts once the engine is there; what it returns is called after each.

    Returns:
        What went wrong, a line for each prompt that could not be drawn. They are missing, the others not.
    """
    done, own = read_records(file_of(plan.out)), read_records(file_of(plan.out, (shard, shards)))
    build_report.check_records(plan, [*done, *own])
    found = {record.task for record in own}
    tasks = [task for task in missing(plan, done)[shard::shards] if task not in found]
    # What is left of the budget is shared out evenly; 0 is no bound.
    left = -(-(plan.token_budget - sum(record.cost for record in done)) // shards) if plan.token_budget else 0
    spent = sum(record.cost for record in own)
    if not tasks or (left and spent >= left):
        return []
    # Requests have no seeds of their own on a CPU: the engine has one, another one each time, or a build that goes on
    # would meet the random numbers again that it has used.
    seed = int(digest(plan.config.seed, shard, shards, len(tasks), tasks[0]), 16) % 2**31
    engine = build_engine(plan, seed)
    try:
        with Writer(plan.out, (shard, shards)) as writer:
            return asyncio.run(_draw(plan, tasks, left, spent, engine, writer, started(len(tasks))))
    finally:
        engine.shutdown()


async def _draw(
    plan: Plan,
    tasks: Sequence[Task],
    budget: int,
    spent: int,
    engine: Any,
    writer: Writer,
    tick: Callable[[], None],
) -> list[str]:
    config = plan.config
    splitter = configured_splitter(config, engine.decode)
    explorer = Explorer(plan.method, config, splitter, plan.response_length, plan.roots, plan.hash)
    failures: list[str] = []
    queue, at_work = deque(tasks), set()
    costs: list[int] = []

    async def visit(task: Task) -> None:
        prompt = plan.prompts[task.index]
        prompt_ids = prompt.token_ids(engine.tokenizer)
        sampler = VLLMSampler(engine, prompt_ids, config.request_timeout)
        scorer = FunctionScorer(plan.reward, engine.tokenizer, prompt, config.request_timeout)
        try:
            record = await explorer.explore(task, plan.problems[task.index], prompt_ids, sampler, scorer)
            writer.write(record)
            costs.append(record.cost)
        except SamplingError as error:
            failures.append(f"row {task.index}, visit {task.visit}: {error}")
        tick()

    def wanted() -> bool:
        """Whether to begin another prompt, by what those at work will probably cost."""
        if not budget:
            return len(at_work) < plan.concurrency
        if not costs:
            return len(at_work) < min(plan.concurrency, _FIRST)
        probable = spent + sum(costs) + len(at_work) * sum(costs) / len(costs)
        return len(at_work) < plan.concurrency and probable < budget

    while True:
        while queue and wanted():
            at_work.add(asyncio.create_task(visit(queue.popleft())))
        if not at_work:
            return failures
        done, at_work = await asyncio.wait(at_work, return_when=asyncio.FIRST_COMPLETED)
        for finished in done:
            finished.result()  # raises what it raised


def _draw_all(plan: Plan, argv: Sequence[str], lock: int, todo: int, console: Console) -> list[str]:
    """Draw what is missing: in this process, or with one for each engine where there are several."""
    groups = device_groups(visible_devices(), plan.tensor_parallel, plan.engines)[:todo]
    return spread(
        lambda started: draw(plan, 0, 1, started),
        [*_COMMAND, *argv],
        plan.out,
        lambda shard: [file_of(plan.out, shard)],
        groups,
        lock,
        todo,
        "prompts",
        console,
    )


def _merge(plan: Plan) -> list[Record]:
    records = merge(plan.out)
    build_report.check_records(plan, records)
    return records


def build(plan: Plan, argv: Sequence[str], draws: bool, console: Console) -> int:
    """Draw what is missing, and write the pairs. Returns the exit status.

    Raises:
        ValueError: the folder holds something else, or is in use.
    """
    failures: list[str] = []
    with locked(plan.out) as lock:
        build_report.check_run(plan)
        build_report.write_run(plan)
        records = _merge(plan)
        todo = len(missing(plan, records))
        if todo and draws:
            try:
                failures = _draw_all(plan, argv, lock, todo, console)
            finally:
                records = _merge(plan)
        if records:
            build_report.write_pairs(plan, records, build_tokenizer(plan), console)
    print_failures(failures)
    lacking = len(missing(plan, records))
    if plan.token_budget and lacking == 0 and sum(record.cost for record in records) < plan.token_budget:
        print("verl_gpo: warning: the prompts ran out before the token budget: give more --visits", file=sys.stderr)
    if lacking and (failures or not plan.token_budget):
        print(f"verl_gpo: {lacking} prompts are missing; call the command again to go on", file=sys.stderr)
        return 1 if draws else 0
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parse_args(argv)

    def run() -> int:
        plan = make_plan(args)
        if args.shard:
            build_report.check_run(plan)
            build_report.write_run(plan)
            return draw_share(args.shard, partial(draw, plan))
        return build(plan, argv, not args.merge, Console(highlight=False))

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
