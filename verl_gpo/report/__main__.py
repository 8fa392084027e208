"""``python -m verl_gpo.report --traces D --runs RUN... --out report.html`` and ``python -m verl_gpo.report show``."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from rich.console import Console

from .page import Truth, build_page
from .runs import read_runs
from .show import find, print_trajectory
from .traces import sample_traces


def truth_function(name: str) -> Truth:
    """``module:function`` as the function itself.

    Raises:
        ValueError: there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--truth {name}: must be MODULE:FUNCTION ({error})") from error


def report(arguments: argparse.Namespace) -> None:
    """Write the page."""
    started = time.perf_counter()
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
    seconds = time.perf_counter() - started
    print(f"{arguments.out}: {shown}{len(arguments.runs)} runs, {len(page) / 1e6:.1f} MB, {seconds:.1f} s")


def show(arguments: argparse.Namespace) -> None:
    """Print trajectories."""
    rows = find(arguments.traces, arguments.uid, arguments.number)
    if arguments.truth:
        truth = truth_function(arguments.truth)
        rows = [row | dict(truth(row) or {}) for row in rows]
    console = Console(highlight=False)
    for row in rows:
        print_trajectory(row, console, arguments.continuations)


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The two commands' command lines."""
    page = argparse.ArgumentParser(
        prog="python -m verl_gpo.report",
        description="Writes one self-contained page about runs and traces.",
        epilog="To print one trajectory in the terminal: python -m verl_gpo.report show --help",
    )
    page.add_argument("--traces", type=Path, help="folder with traces (gpo.trace_dir), or one of its files")
    page.add_argument(
        "--runs",
        nargs="+",
        default=[],
        metavar="RUN",
        help="metrics files of verl's file logger, or folders with one; NAME=RUN groups the seeds of a method",
    )
    page.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")
    page.add_argument("--title", default="GPO report")
    page.add_argument("--limit", type=int, default=2000, help="most traces, evenly over all (default: 2000; 0: all)")
    page.add_argument(
        "--continuation-chars", type=int, default=300, help="longest text of a continuation (default: 300)"
    )
    page.add_argument("--plotly", type=Path, help="another bundle of plotly, such as plotly-basic.min.js")
    shown = argparse.ArgumentParser(prog="python -m verl_gpo.report show", description="Prints one trajectory.")
    shown.add_argument("--traces", type=Path, required=True, help="folder with traces, or one of its files")
    which = shown.add_mutually_exclusive_group()
    which.add_argument("--uid", help="the prompt's uid")
    which.add_argument("--number", type=int, help="which trajectory, from 0; negative from the end (default: the last)")
    shown.add_argument("--continuations", action="store_true", help="print what was drawn as well; * is learnt from")
    for parser in (page, shown):
        parser.add_argument(
            "--truth",
            metavar="MODULE:FUNCTION",
            help="what is known of a trajectory: a function from its mapping to true_critical and true_values",
        )
    return page, shown


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    page, shown = parsers()
    try:
        if argv[:1] == ["show"]:
            show(shown.parse_args(argv[1:]))
        else:
            arguments = page.parse_args(argv)
            if not arguments.traces and not arguments.runs:
                page.error("nothing to report: give --traces, --runs, or both")
            report(arguments)
    except (OSError, ValueError, LookupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
