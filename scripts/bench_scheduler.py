"""Measures the search at scale: the real scheduler and search with a simulated engine, in virtual time.

    python -m scripts.bench_scheduler --out scripts/results/bench_scheduler.json   # 1,024 prompts, 8 to 64 replicas
    python -m scripts.bench_scheduler --replicas 16 --prompts 256                  # a smaller one

The engine is :mod:`scripts.bench_simulation`, and a training step :mod:`scripts.bench_training_step`. All settings are
compared in one run, on the same prompts and the same root responses. The first training step, in which nothing is known
of the responses' lengths, is reported apart; all other figures are of the steps after it. The last line says how many
bounds hold. Nothing here is a measurement of a GPU: the hardware's rates are assumptions, printed with the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

if not __package__:  # started as a file: `scripts` is a package of the repository's root
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]))
    module = [sys.executable, "-m", "scripts.bench_scheduler", *sys.argv[1:]]
    os.execve(sys.executable, module, {**os.environ, "PYTHONPATH": path})

from scripts.bench_simulation import Hardware
from scripts.bench_training_step import Measured, Memory, Problem, problems, settings_of, simulate
from verl_gpo.config import GPOConfig
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory

#: name -> settings of algorithm.gpo; None: plain rollouts.
SYSTEMS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "paper": {},
    "fast": {"preset": "fast"},
    "lean": {"preset": "lean"},
    "random": {"search": "random"},
}
#: Without a limit: what the limit of the presets buys, and costs.
UNLIMITED = {
    "fast, no limit": {"preset": "fast", "step_stretch": 0.0},
    "lean, no limit": {"preset": "lean", "step_stretch": 0.0},
}
#: Most of plain's step time.
STEP_BOUNDS = {"fast": 1.15, "lean": 1.05}
OVERSPEND, SHORT_WAIT, MEMORY_MIB, ERRORS = 1.05, 2.0, 32.0, 3.0
#: Short prompts whose wait is measured.
SHORT_PROMPTS = 6


def short_waits(config, batch: Sequence[Problem], together: Measured, replicas, hardware, **where: Any) -> list[float]:
    """How long short prompts wait for their search, over the wait if they alone were searched in this step.

    The other prompts roll out in both cases. Compared with an idle engine, every request takes longer in a full batch,
    those of plain rollouts as well.
    """
    short = sorted((p for p in batch if not p.loops and together.waits.get(p.number, 0) > 1.0), key=lambda p: p.scale)
    ratios = []
    for problem in short[:SHORT_PROMPTS]:
        alone = simulate(config, batch, replicas, hardware, only={problem.number}, **where).waits[problem.number]
        ratios.append(together.waits[problem.number] / alone)
    return ratios


def row_of(
    name: str, block: dict | None, batches, plain: Sequence[Measured], replicas: int, hardware, seed: int
) -> dict:
    """The figures of one system: of the first step, and of all others together."""
    config = settings_of(block)
    memory = Memory(config) if config else None
    first, *steps = range(len(batches))
    if config and not config.step_stretch:
        steps = steps[:1]  # it remembers nothing, so one step is as good as several
    measured: dict[int, Measured] = {}
    for step in (first, *steps) if config and config.step_stretch else steps:
        where = {"memory": memory, "step": step, "seed": seed + step}
        limit = plain[step].seconds
        measured[step] = (
            simulate(config, batches[step], replicas, hardware, shadow=limit, **where) if config else plain[step]
        )
    later = [measured[step] for step in steps]
    tokens, search = sum(m.tokens for m in later), sum(m.search_tokens for m in later)
    row: dict[str, Any] = {
        "system": name,
        "replicas": replicas,
        "prompts": len(batches[0]),
        "seconds": statistics.fmean(m.seconds for m in later),
        "over_plain": sum(m.seconds for m in later) / sum(plain[step].seconds for step in steps),
        "first_step": measured[first].seconds / plain[first].seconds if first in measured else None,
        "tokens_over_plain": tokens / sum(plain[step].tokens for step in steps),
        "in_shadow": sum(m.in_shadow for m in later) / search if search else None,
        "occupancy": statistics.fmean(m.occupancy for m in later),
    }
    if not config:
        return row
    count = sum(len(m.lengths) for m in later)
    held_back = [length for m in later for length in m.lengths_held_back]
    row |= {key: sum(getattr(m, key) for m in later) / count for key in ("reentered", "thinned", "shortened", "late")}
    lengths = statistics.fmean(length for m in later for length in m.lengths)
    row["held_back_length"] = statistics.fmean(held_back) / lengths if held_back else None
    if name in UNLIMITED:
        return row
    row["short_wait"] = max(
        short_waits(config, batches[step], measured[step], replicas, hardware, **where), default=None
    )
    bias = [error for m in later for error in m.bias]
    row["bias"] = statistics.fmean(bias) if bias else None
    row["bias_error"] = statistics.stdev(bias) / math.sqrt(len(bias)) if len(bias) > 1 else None
    budget = int(measured[step].search_tokens / 2)
    if budget:
        bounded = settings_of(block, budget)
        where, spent = {"memory": Memory(bounded)}, []
        for step in range(len(batches)):
            where |= {"step": step, "seed": seed + step}
            spent.append(simulate(bounded, batches[step], replicas, hardware, **where).search_tokens)
        row["first_overspend"], row["overspend"] = spent[0] / budget, statistics.fmean(spent[1:]) / budget
    return row


def memory_of_a_prompt(settings: dict[str, Any], tokens: int, steps: int) -> float:
    """Peak MiB that search and re-entry of one prompt hold, for a response of a number of tokens and steps."""

    class Fresh:
        """Answers like an engine behind Ray, with new Python objects."""

        async def sample(self, prefix, max_tokens, seed, lane=0):
            await asyncio.sleep(0)
            length = min(max_tokens, tokens - len(prefix))
            return Continuation(tuple(range(1000, 1000 + length)), tuple(-0.1 - at * 1e-9 for at in range(length)))

        async def score(self, prefix, continuation):
            await asyncio.sleep(0)
            return ScoredContinuation(continuation, float(len(prefix) % 2))

    step = tokens // steps
    roots = [Trajectory(tuple(range(k, k + tokens)), (-0.1,) * tokens, float(k % 2)) for k in range(8)]
    engine = ReentryProcedure(
        GPOConfig.from_mapping({**settings, "cost_ceiling": 0}),
        lambda ids, _=None: list(range(step, tokens + 1, step)),
        tokens + 1,
    )

    async def held() -> int:
        found = await engine.run(roots, Fresh(), Fresh())
        return len(found.reentries)

    tracemalloc.start()
    try:
        asyncio.run(held())
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def bounds(found: Sequence[dict], memory: dict[str, float]) -> list[tuple[str, float, float]]:
    """(what, measured, its bound) of everything that is bounded; the measured value has to be at most the bound."""
    listed = []
    for row in found:
        if row["system"] not in SYSTEMS:
            continue
        where = f"{row['system']}, {row['replicas']} replicas"
        if row["system"] in STEP_BOUNDS:
            listed.append((f"step time over plain: {where}", row["over_plain"], STEP_BOUNDS[row["system"]]))
        if row.get("overspend") is not None:
            listed.append((f"spent over half the budget: {where}", row["overspend"], OVERSPEND))
        if row.get("short_wait") is not None:
            listed.append((f"wait of a short prompt: {where}", row["short_wait"], SHORT_WAIT))
        if row.get("bias_error") is not None:
            listed.append((f"bias of values: {where}", abs(row["bias"]), ERRORS * row["bias_error"]))
    return [*listed, *((f"MiB a prompt: {name}", peak, MEMORY_MIB) for name, peak in memory.items())]


COLUMNS = ("replicas", "system", "over_plain", "first_step", "tokens_over_plain", "in_shadow", "occupancy", "reentered")
COLUMNS += ("shortened", "late", "held_back_length", "thinned", "first_overspend", "overspend", "short_wait", "bias")


def table_of(found: Sequence[dict]) -> Table:
    """All systems side by side."""
    table = Table(*COLUMNS)
    for row in found:
        values = (row.get(key) for key in COLUMNS)
        table.add_row(*("" if v is None else str(v) if isinstance(v, (str, int)) else f"{v:.3f}" for v in values))
    return table


def markdown(found: Sequence[dict]) -> str:
    """The table of ``docs/scale.md``."""
    heads = ("replicas", "system", "step time / plain", "first step", "tokens / plain", "in the shadow", "occupancy")
    heads += (
        "re-entered",
        "shortened",
        "late",
        "their length",
        "thinned",
        "overspend, first",
        "overspend",
        "short wait",
        "bias",
    )
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in found:
        values = (row.get(key) for key in COLUMNS)
        cells = ("" if v is None else str(v) if isinstance(v, (str, int)) else f"{v:.3f}" for v in values)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(page: Path, raw: Path) -> None:
    """Write the figures of a raw result between the page's marks."""
    kept = json.loads(raw.read_text())
    listed = bounds(kept["rows"], kept["memory"])
    lines = ["| bound | measured | at most | holds |", "|---|---:|---:|---|"]
    lines += [f"| {what} | {v:.3g} | {most:.3g} | {'yes' if v <= most else 'no'} |" for what, v, most in listed]
    lines.append(f"\nBounds held: {sum(value <= most for _, value, most in listed)} of {len(listed)}.")
    figures = "\n".join([markdown(kept["rows"]), "", *lines])
    begin, end = "<!-- bench_scheduler -->\n", "\n<!-- /bench_scheduler -->"
    text = page.read_text()
    before, _, after = text.partition(begin)
    page.write_text(before + begin + figures + end + after.partition(end)[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=1024, help="prompts of the training step")
    parser.add_argument("--replicas", default="8,16,64", help="replicas of the engine, several by commas")
    parser.add_argument("--steps", type=int, default=7, help="training steps, the first of which is reported apart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--policy",
        choices=("priority", "fcfs"),
        default="priority",
        help="in which order the engine takes waiting requests (verl's rollout.scheduling_policy)",
    )
    parser.add_argument("--out", type=Path, help="write the rows to this JSON file")
    parser.add_argument("--page", type=Path, help="measure nothing, and write the figures of --out into this page")
    args = parser.parse_args()
    if args.page:
        return write_page(args.page, args.out)
    if args.prompts < 8 or args.steps < 2:
        parser.error("--prompts must be at least 8, and --steps at least 2")
    console, hardware = Console(highlight=False, width=200), Hardware(by_priority=args.policy == "priority")
    console.print("hardware (assumed):", asdict(hardware))
    batches = [problems(args.prompts, args.seed + step) for step in range(args.steps)]
    found = []
    for replicas in map(int, args.replicas.split(",")):
        plain = [simulate(None, batch, replicas, hardware, seed=args.seed + at) for at, batch in enumerate(batches)]
        for name, block in {**SYSTEMS, **UNLIMITED}.items():
            found.append(row_of(name, block, batches, plain, replicas, hardware, args.seed))
            console.print(f"{replicas} replicas, {name}: {found[-1]['over_plain']:.3f} of plain's step time")
    memory = {
        "8k tokens, 200 steps, paper": memory_of_a_prompt({}, 8000, 200),
        "8k tokens, 200 steps, fast": memory_of_a_prompt({"preset": "fast"}, 8000, 200),
        "8k tokens, 200 steps, all states learnt from": memory_of_a_prompt({"learn_from": "all"}, 8000, 200),
    }
    listed = bounds(found, memory)
    if args.out:
        arguments = {key: getattr(args, key) for key in ("prompts", "replicas", "steps", "seed", "policy")}
        kept = {"hardware": asdict(hardware), "arguments": arguments, "rows": found, "memory": memory}
        args.out.write_text(json.dumps(kept, indent=1) + "\n")
    console.print(table_of(found))
    table = Table("bound", "measured", "at most", "holds")
    for what, value, most in listed:
        table.add_row(what, f"{value:.3g}", f"{most:.3g}", "yes" if value <= most else "no")
    console.print(table)
    console.print(f"bounds held: {sum(value <= most for _, value, most in listed)} of {len(listed)}")


if __name__ == "__main__":
    main()
