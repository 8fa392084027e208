"""Evaluate a model on benchmarks, or compare two evaluations.

    python -m verl_gpo.evaluation --model M --benchmarks aime24,math500 --data-dir DATA --out RUN
    python -m verl_gpo.evaluation compare RUN_A RUN_B

Samples are kept in ``RUN/samples``. Called again, the command continues where it stopped.
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
from .samples import REFUSED, Sample, file_of, merge, missing
from .settings import EvaluationSettings, make_settings, parse_args

#: Command of the process of one engine.
_COMMAND = (sys.executable, "-m", "verl_gpo.evaluation")


def _merge(settings: EvaluationSettings) -> list[Sample]:
    merged = [sample for name in settings.benchmarks for sample in merge(settings.out, name)]
    check_samples(settings, merged)
    return merged


def _draw(settings: EvaluationSettings, argv: Sequence[str], lock: int, todo: int, console: Console) -> list[str]:
    """Draw what is missing: in this process, or in one process for each engine if there are several."""
    groups = device_groups(visible_devices(), settings.tensor_parallel, settings.engines)[:todo]
    return spread(
        lambda started: draw(settings, 0, 1, started),
        [*_COMMAND, *argv],
        settings.out,
        lambda shard: [file_of(settings.out, name, shard) for name in settings.benchmarks],
        groups,
        lock,
        todo,
        "samples",
        console,
    )


def evaluate(settings: EvaluationSettings, argv: Sequence[str], console: Console) -> int:
    """Draw what is missing, and report. Returns the exit status.

    Raises:
        ValueError: the folder has samples of other settings, or is in use.
    """
    with locked(settings.out) as lock:
        check_record(settings)
        done = _merge(settings)
        record = write_record(settings)
        todo = missing(settings.sizes, (sample.task for sample in done))
        failures = []
        if todo:
            try:
                failures = _draw(settings, argv, lock, len(todo), console)
            finally:
                _merge(settings)
        found, lacking = complete(settings.out, record)
    if found:
        summary.write(settings.out, record, {name: summary.measure(rows) for name, rows in found.items()}, console)
    print_failures(failures)
    refused = {
        f"warning: {name}, row {sample.index} counts as not answered: {sample.finish.removeprefix(REFUSED)}"
        for name, rows in found.items()
        for samples in rows
        for sample in samples
        if sample.finish.startswith(REFUSED)
    }
    print_failures(sorted(refused), "problems that count as not answered")
    mine = [said for name, said in lacking.items() if name in settings.benchmarks]
    for said in (said for name, said in lacking.items() if name not in settings.benchmarks):
        print(f"verl_gpo: warning: {said}: left out", file=sys.stderr)
    if mine:
        print(f"verl_gpo: {', '.join(mine)}; run the command again to continue", file=sys.stderr)
    return 1 if mine else 0


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["compare"]:
        return compare.main(argv[1:])
    args = parse_args(argv)

    def run() -> int:
        settings = make_settings(args)
        if args.shard:
            check_record(settings)
            return draw_share(args.shard, partial(draw, settings))
        for said in settings.warnings:
            print(f"verl_gpo: warning: {said}", file=sys.stderr)
        return evaluate(settings, argv, Console(highlight=False))

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
