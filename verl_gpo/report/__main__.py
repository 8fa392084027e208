"""``python -m verl_gpo.report``: a page about runs and traces; ``show`` for the terminal; ``inspect`` without a run."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..traces.reader import sample_traces, trace_files
from .command_line import parse, truth_function
from .page import build_page
from .runs import read_runs
from .show import find, print_trajectory


def report(arguments: argparse.Namespace) -> None:
    """Write the page."""
    records, total = sample_traces(arguments.traces, arguments.limit) if arguments.traces else ([], 0)
    page = build_page(
        records,
        read_runs(arguments.runs),
        arguments.title,
        total,
        arguments.continuation_chars,
        truth_function(arguments.truth) if arguments.truth else None,
        arguments.plotly.read_text(encoding="utf-8") if arguments.plotly else None,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")
    shown = f"{len(records)} of {total} traces, " if total else ""
    print(f"{arguments.out}: {shown}{len(arguments.runs)} runs, {len(page) / 1e6:.1f} MB")


def show(arguments: argparse.Namespace) -> None:
    """Print trajectories."""
    rows = find(arguments.traces, arguments.uid, arguments.number)
    if arguments.truth:
        truth = truth_function(arguments.truth)
        rows = [row | dict(truth(row) or {}) for row in rows]
    console = Console(highlight=False)
    for row in rows:
        print_trajectory(row, console, arguments.continuations)


def inspect(arguments: argparse.Namespace) -> None:
    """Search a model's responses for critical steps, and write the page."""
    from ..config import GPOConfig
    from ..graders import compute_score
    from ..inference.task import load_reward, read_prompts
    from .inspection import Inspection

    try:
        trace_files(arguments.traces)
    except FileNotFoundError:
        pass
    else:
        raise ValueError(f"--traces {arguments.traces}: holds traces already; choose another folder")
    if arguments.truth:
        truth_function(arguments.truth)  # finds errors before anything expensive starts
    inspection = Inspection(
        arguments.model,
        read_prompts(arguments.data, arguments.prompts),
        load_reward(arguments.reward) if arguments.reward else compute_score,
        GPOConfig.from_mapping({**arguments.gpo, "trace_dir": str(arguments.traces)}),
        arguments.roots,
        arguments.response_length,
        {
            "max_model_len": arguments.max_model_len,
            "temperature": arguments.temperature,
            "top_p": arguments.top_p,
            **arguments.engine,
        },
        template=arguments.template,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns)
    bar = progress.add_task("prompts", total=len(inspection.prompts))
    try:
        # Only after the engine has started: the bar has a thread, and the engine may fork.
        lost = inspection.run(arguments.traces, progress.start, lambda: progress.advance(bar))
    finally:
        progress.stop()
    if lost:
        print(f"{lost} of {len(inspection.prompts)} prompts are missing: no response came back with a reward")
    if lost == len(inspection.prompts):
        raise ValueError("nothing to show")
    report(arguments)


def main(argv: list[str] | None = None) -> int:
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        {"report": report, "show": show, "inspect": inspect}[command](arguments)
    except (OSError, ValueError, LookupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
