"""Evaluate a model on benchmarks, or compare two evaluations.

    python -m verl_gpo.evaluation --model M --benchmarks aime24,math500 --data-dir DATA --out RUN
    python -m verl_gpo.evaluation compare RUN_A RUN_B

Samples are kept in ``RUN/samples``: called again, the command goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from ..inference.launch import device_groups, draw_share, exit_status, locked, print_failures, spread, visible_devices
from . import compare, summary
from .generate import draw
from .run import check_record, check_samples, complete, write_record
from .samples import Sample, file_of, merge, missing
from .settings import Plan, make_plan, parse_args

#: What a process of one engine runs.
_COMMAND = (sys.executable, "-m", "verl_gpo.evaluation")


def _merge(plan: Plan) -> list[Sample]:
    merged = [sample for name in plan.benchmarks for sample in merge(plan.out, name)]
    check_samples(plan, merged)
    return merged


def _draw(plan: Plan, argv: Sequence[str], lock: int, todo: int, console: Console) -> list[str]:
    """Draw what is missing: in this process, or with one for each engine where there are several."""
    groups = device_groups(visible_devices(), plan.tensor_parallel, plan.engines)[:todo]
    return spread(
        lambda started: draw(plan, 0, 1, started),
        [*_COMMAND, *argv],
        plan.out,
        lambda shard: [file_of(plan.out, name, shard) for name in plan.benchmarks],
        groups,
        lock,
        todo,
        "samples",
        console,
    )


def evaluate(plan: Plan, argv: Sequence[str], console: Console) -> int:
    """Draw what is missing, and report. Returns the exit status.

    Raises:
        ValueError: the folder holds something else, or is in use.
    """
    with locked(plan.out) as lock:
        check_record(plan)
        done = _merge(plan)
        record = write_record(plan)
        todo = missing(plan.sizes, (sample.task for sample in done))
        failures = []
        if todo:
            try:
                failures = _draw(plan, argv, lock, len(todo), console)
            finally:
                _merge(plan)
        found, lacking = complete(plan.out, record)
    if found:
        summary.write(plan.out, record, {name: summary.measure(rows) for name, rows in found.items()}, console)
    print_failures(failures)
    mine = [said for name, said in lacking.items() if name in plan.benchmarks]
    for said in (said for name, said in lacking.items() if name not in plan.benchmarks):
        print(f"verl_gpo: warning: {said}: left out", file=sys.stderr)
    if mine:
        print(f"verl_gpo: {', '.join(mine)}; call the command again to go on", file=sys.stderr)
    return 1 if mine else 0


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["compare"]:
        return compare.main(argv[1:])
    args = parse_args(argv)

    def run() -> int:
        plan = make_plan(args)
        if args.shard:
            check_record(plan)
            return draw_share(args.shard, partial(draw, plan))
        for said in plan.warnings:
            print(f"verl_gpo: warning: {said}", file=sys.stderr)
        return evaluate(plan, argv, Console(highlight=False))

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
