"""Measures the search at scale: the real scheduler and search with a simulated engine, in virtual time.

    python -m scripts.bench_scheduler                      # 1,024 prompts x 8 roots on 16 replicas
    python -m scripts.bench_scheduler --replicas 8,64 --prompts 1024 --out scripts/results/bench_scheduler.json

The engine is :mod:`scripts.bench_simulation`: continuous batching, a prefix cache, several replicas. Responses have
lognormal lengths of up to 32,000 tokens, right answers are longer than wrong ones, and one response of the batch
repeats lines of 11 tokens up to the limit. All settings are compared in one run, and the last line says how many of the
bounds hold. Nothing here is a measurement of a GPU: the rates of the hardware are assumptions, printed with the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.bench_simulation import Cluster, Hardware, VirtualLoop
from verl_gpo.config import GPOConfig
from verl_gpo.core.budget import Account
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.result import GroupResult
from verl_gpo.core.scheduler import Scheduler
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory

LENGTH = 32_000
WORKERS = 8
#: A newline ends a step. Other tokens do not matter.
NEWLINE, WORD = 1, 2
STEP_TOKENS, LOOP_STEP_TOKENS = 60, 11
MEDIAN_TOKENS, SPREAD = 1200, 0.7

#: Name -> settings of algorithm.gpo; None for plain rollouts.
SYSTEMS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "paper": {},
    "fast": {"preset": "fast"},
    "lean": {"preset": "lean"},
    "random": {"search": "random"},
}


@dataclass
class Problem:
    """One prompt: the length of its responses, and the value of every state, which changes once.

    A right answer is 1.6 times as long as a wrong one. A search that loses long answers would therefore estimate wrong
    values.

    Attributes:
        number: of the prompt.
        scale: length of its responses in tokens; single responses vary around it.
        before, after: the value of states before and after the change.
        jump: where the value changes, as a share of ``scale``.
        loops: whether its first response repeats a line up to the limit.
    """

    number: int
    scale: float
    before: float
    after: float
    jump: float
    loops: bool = False

    def value(self, prefix_tokens: int) -> float:
        """The value of a state."""
        return self.after if prefix_tokens >= self.jump * self.scale else self.before

    def answer(self, prefix_tokens: int, rng: random.Random) -> tuple[int, float]:
        """Tokens of a continuation, and its reward."""
        right = rng.random() < self.value(prefix_tokens)
        longer = 1.6 if right else 1.0
        length = int(self.scale * longer * rng.lognormvariate(0.0, SPREAD))
        return max(1, min(length - prefix_tokens, LENGTH - prefix_tokens)) if length > prefix_tokens else 20, float(
            right
        )


def problems(count: int, seed: int) -> list[Problem]:
    """Random prompts; the one in the middle of the list loops."""
    rng = random.Random(seed)
    made = [
        Problem(
            number,
            MEDIAN_TOKENS * rng.lognormvariate(0.0, 0.6),
            rng.uniform(0.1, 0.6),
            rng.choice((0.0, 0.95)),
            rng.uniform(0.2, 0.8),
        )
        for number in range(count)
    ]
    made[count // 2].loops = True
    return made


class Policy:
    """Sampler and scorer of one prompt on the cluster."""

    def __init__(self, problem: Problem, cluster: Cluster, name: str, count: dict[str, float]):
        self._problem, self._cluster, self._name, self._count = problem, cluster, name, count

    async def root(self, number: int) -> Trajectory:
        """Sample one root rollout."""
        rng = random.Random(f"{self._name}/root/{number}")
        tokens, reward = self._problem.answer(0, rng)
        step = STEP_TOKENS
        if self._problem.loops and number == 0:
            tokens, reward, step = LENGTH, 0.0, LOOP_STEP_TOKENS
        await self._cluster.generate((self._name, 0), self._name, 200, tokens)
        lines = tokens // step + 1
        ids = ((WORD,) * (step - 1) + (NEWLINE,)) * lines
        log_probs = ((-0.7,) + (-1e-4,) * (step - 1)) * lines
        return Trajectory(ids[:tokens], log_probs[:tokens], reward)

    async def sample(self, prefix: Sequence[int], max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        rng = random.Random(f"{self._name}/{seed}")
        tokens, reward = self._problem.answer(len(prefix), rng)
        tokens = min(tokens, max_tokens)
        cached = await self._cluster.generate((self._name, lane), self._name, 200 + len(prefix), tokens)
        loop = asyncio.get_running_loop()
        self._count["tokens"] += tokens
        self._count["last"] = max(self._count["last"], loop.time())
        if loop.time() <= self._count["shadow"]:
            self._count["in_shadow"] += tokens
        return Continuation((WORD,) * tokens, (-0.1,) * tokens, 200 + len(prefix), cached, source=reward)

    async def score(self, prefix: Sequence[int], continuation: Continuation) -> ScoredContinuation:
        return ScoredContinuation(continuation, continuation.source)


def split(token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
    """Steps end at newlines."""
    ends = [at + 1 for at, token in enumerate(token_ids) if token == NEWLINE]
    return ends if ends and ends[-1] == len(token_ids) else [*ends, len(token_ids)]


@dataclass
class Measured:
    """The result of one system for a batch.

    Attributes:
        seconds: of the whole step.
        root_seconds: until the last root has ended.
        tokens: all generated tokens; ``search_tokens`` are those of search and re-entry.
        in_shadow: of those, the tokens generated while plain rollouts would still run.
        occupancy: share of the places in the engines' batches that were used.
        thinned: number of prompts whose steps were merged because of their cost.
        searched: number of prompts that were searched.
    """

    seconds: float = 0.0
    root_seconds: float = 0.0
    tokens: float = 0.0
    search_tokens: float = 0.0
    in_shadow: float = 0.0
    occupancy: float = 0.0
    thinned: int = 0
    searched: int = 0
    #: Estimated minus true value of each state that was sampled.
    bias: list[float] = field(default_factory=list)
    #: Prompt -> seconds of its search.
    waits: dict[int, float] = field(default_factory=dict)


def simulate(
    settings: dict[str, Any] | None,
    batch: Sequence[Problem],
    replicas: int,
    hardware: Hardware,
    n: int = 8,
    budget: int = 0,
    shadow: float = math.inf,
    seed: int = 0,
) -> Measured:
    """One training step's rollouts.

    Args:
        settings: of GPO; None for plain rollouts.
        batch: the prompts.
        replicas: number of replicas of the engine.
        hardware: of each replica.
        n: number of rows of each prompt.
        budget: ``step_token_budget``.
        shadow: the time at which plain rollouts end.
        seed: of all random choices.
    """
    measured = Measured()
    loop = VirtualLoop()
    try:
        loop.run_until_complete(_step(settings, batch, replicas, hardware, n, budget, shadow, seed, measured))
    finally:
        loop.close()
    return measured


async def _step(settings, batch, replicas, hardware, n, budget, shadow, seed, measured: Measured) -> None:
    loop, cluster = asyncio.get_running_loop(), Cluster(replicas, hardware)
    config = None if settings is None else GPOConfig.from_mapping({**settings, "step_token_budget": budget})
    count = {"tokens": 0.0, "in_shadow": 0.0, "shadow": shadow, "last": 0.0}
    procedures, accounts = [], []
    for _ in range(WORKERS if config else 0):
        scheduler = Scheduler(max(1, config.max_in_flight * replicas // WORKERS))
        procedures.append(ReentryProcedure(config, split, LENGTH, scheduler))
        accounts.append(Account(budget // WORKERS))
    reserved = config.reserved_rows if config else 0

    async def prompt(problem: Problem) -> None:
        name = f"{seed}/{problem.number}"
        policy = Policy(problem, cluster, name, count)
        roots = list(await asyncio.gather(*(policy.root(number) for number in range(n - reserved))))
        measured.root_seconds = max(measured.root_seconds, loop.time())
        measured.tokens += sum(len(root.token_ids) for root in roots)
        if config is None:
            return
        began, worker = loop.time(), problem.number % WORKERS
        result = await procedures[worker].run(roots, policy, policy, name, accounts[worker])
        measured.waits[problem.number] = loop.time() - began
        _note(problem, result, measured)
        if reserved and not any(reentry.rollouts for reentry in result.reentries):
            further = await asyncio.gather(*(policy.root(n + number) for number in range(reserved)))
            measured.tokens += sum(len(root.token_ids) for root in further)

    await asyncio.gather(*(prompt(problem) for problem in batch))
    measured.seconds = loop.time()
    measured.search_tokens, measured.in_shadow = count["tokens"], count["in_shadow"]
    measured.tokens += count["tokens"]
    measured.occupancy = cluster.occupancy(measured.seconds, hardware)


def _note(problem: Problem, result: GroupResult, measured: Measured) -> None:
    measured.thinned += result.thinned
    measured.searched += result.skipped is None
    for reentry in result.reentries:
        for state, value in enumerate(reentry.values[1:-1], 1):
            if value.known and value.count:
                measured.bias.append(value.mean - problem.value(reentry.ends[state - 1]))


def short_waits(settings: dict[str, Any], batch: Sequence[Problem], together: Measured, replicas, hardware) -> float:
    """The largest ratio of the seconds that a short prompt takes in the batch to those that it takes alone."""
    short = sorted((p for p in batch if not p.loops), key=lambda problem: problem.scale)[: max(len(batch) // 20, 1)]
    ratios = []
    for problem in short[:20]:
        alone = simulate(settings, [problem], replicas, hardware)
        if alone.waits[problem.number] > 1.0:
            ratios.append(together.waits[problem.number] / alone.waits[problem.number])
    return max(ratios, default=math.nan)


def memory_of_a_prompt(settings: dict[str, Any], tokens: int, steps: int) -> float:
    """The largest memory in MiB that search and re-entry of one prompt need.

    Args:
        settings: of GPO.
        tokens, steps: of each response.
    """

    class Fresh:
        """Answers with new Python objects each time, as an engine that is called through Ray does."""

        async def sample(self, prefix, max_tokens, seed, lane=0):
            await asyncio.sleep(0)
            length = min(max_tokens, tokens - len(prefix))
            return Continuation(tuple(range(1000, 1000 + length)), tuple(-0.1 - at * 1e-9 for at in range(length)))

        async def score(self, prefix, continuation):
            await asyncio.sleep(0)
            return ScoredContinuation(continuation, float(len(prefix) % 2))

    step = tokens // steps
    roots = [Trajectory(tuple(range(k, k + tokens)), (-0.1,) * tokens, float(k % 2)) for k in range(8)]
    procedure = ReentryProcedure(
        GPOConfig.from_mapping({**settings, "cost_ceiling": 0}),
        lambda ids, _=None: list(range(step, tokens + 1, step)),
        tokens + 1,
    )
    tracemalloc.start()
    try:
        asyncio.run(procedure.run(roots, Fresh(), Fresh()))
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def rows(prompts: int, replicas: Sequence[int], hardware: Hardware, seed: int, console: Console) -> list[dict]:
    """Simulate all systems for each number of replicas. Returns one row for each."""
    found = []
    for count in replicas:
        batch = problems(prompts, seed)
        plain = simulate(None, batch, count, hardware, seed=seed)
        for name, settings in SYSTEMS.items():
            measured = simulate(settings, batch, count, hardware, shadow=plain.seconds, seed=seed)
            row = {
                "system": name,
                "replicas": count,
                "prompts": prompts,
                "seconds": measured.seconds,
                "over_plain": measured.seconds / plain.seconds,
                "tokens_over_plain": measured.tokens / plain.tokens,
                "in_shadow": measured.in_shadow / measured.search_tokens if measured.search_tokens else None,
                "occupancy": measured.occupancy,
                "thinned": measured.thinned,
            }
            if settings is not None:
                row["short_wait"] = short_waits(settings, batch, measured, count, hardware)
                bias = measured.bias
                row["bias"] = statistics.fmean(bias) if bias else None
                row["bias_error"] = statistics.stdev(bias) / math.sqrt(len(bias)) if len(bias) > 1 else None
                budget = int(measured.search_tokens / 2)
                if budget:
                    bounded = simulate(settings, batch, count, hardware, budget=budget, seed=seed)
                    row["overspend"] = bounded.search_tokens / budget
            found.append(row)
            console.print(
                {
                    key: value if isinstance(value, (str, int)) else value and round(value, 4)
                    for key, value in row.items()
                }
            )
    return found


def bounds(found: Sequence[dict], memory: dict[str, float]) -> list[tuple[str, float, float]]:
    """Everything that has a bound: what it is, the measured value, and the largest value that is allowed."""
    listed = []
    for row in found:
        where = f"{row['system']}, {row['replicas']} replicas"
        for system, most in (("fast", 1.15), ("lean", 1.05)):
            if row["system"] == system:
                listed.append((f"step time over plain: {where}", row["over_plain"], most))
        if row.get("overspend") is not None:
            listed.append((f"spent over half the budget: {where}", row["overspend"], 1.05))
        if row.get("short_wait") is not None and not math.isnan(row["short_wait"]):
            listed.append((f"wait of a short prompt: {where}", row["short_wait"], 2.0))
        if row.get("bias_error") is not None:
            listed.append((f"bias of values: {where}", abs(row["bias"]), 3.0 * row["bias_error"]))
    listed += [(f"MiB a prompt: {name}", peak, 32.0) for name, peak in memory.items()]
    return listed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=1024, help="prompts of the training step")
    parser.add_argument(
        "--replicas", default="16", help="replicas of the engine; several numbers are separated by commas"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the rows to this JSON file")
    args = parser.parse_args()
    console, hardware = Console(highlight=False), Hardware()
    console.print("hardware (assumed):", asdict(hardware))
    found = rows(args.prompts, [int(count) for count in args.replicas.split(",")], hardware, args.seed, console)
    memory = {
        "8k tokens, 200 steps, paper": memory_of_a_prompt({}, 8000, 200),
        "8k tokens, 200 steps, all states learnt from": memory_of_a_prompt({"learn_from": "all"}, 8000, 200),
    }
    listed = bounds(found, memory)
    table = Table("bound", "measured", "at most", "holds")
    for what, value, most in listed:
        table.add_row(what, f"{value:.3g}", f"{most:.3g}", "yes" if value <= most else "no")
    console.print(table)
    if args.out:
        args.out.write_text(
            json.dumps({"hardware": asdict(hardware), "rows": found, "memory": memory}, indent=1) + "\n"
        )
    console.print(f"bounds held: {sum(value <= most for _, value, most in listed)} of {len(listed)}")


if __name__ == "__main__":
    main()
