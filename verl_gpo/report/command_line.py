"""The command lines of the report's commands."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from ..config import BLOCK
from ..inference.settings import add_template_option, read_settings, read_template
from .page import Truth


def truth_function(name: str) -> Truth:
    """The function ``MODULE:FUNCTION``; with ``=ARGUMENT`` after it, the function's result for that text.

    Raises:
        ValueError: there is no such function.
    """
    path, given, argument = name.partition("=")
    module, _, function = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--truth {name}: must be MODULE:FUNCTION or MODULE:FUNCTION=ARGUMENT ({error})") from error
    return found(argument) if given else found


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """The command's name, ``report`` if none is given, and its arguments."""
    command, *rest = argv if argv and argv[0] in ("show", "inspect") else ("report", *argv)
    parser = {"report": _report, "show": _show, "inspect": _inspect}[command]()
    arguments = parser.parse_args(rest)
    if command == "report" and not arguments.traces and not arguments.runs:
        parser.error("nothing to report: give --traces, --runs, or both")
    if command == "inspect":
        for name, least in (("prompts", 1), ("roots", 1), ("response_length", 2)):
            if getattr(arguments, name) < least:
                parser.error(f"--{name.replace('_', '-')} {getattr(arguments, name)}: must be at least {least}")
        try:
            arguments.gpo, arguments.engine = read_settings(arguments.gpo), read_settings(arguments.engine)
            arguments.template = read_template(arguments.template)
        except ValueError as error:
            parser.error(str(error))
        arguments.traces = arguments.traces or arguments.out.with_name(f"{arguments.out.stem}_traces")
    return command, arguments


def _parser(command: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m verl_gpo.report{command}", description=description, epilog=epilog)
    parser.add_argument(
        "--truth",
        metavar="MODULE:FUNCTION[=ARGUMENT]",
        help="what is known of a trajectory: a function from its mapping to true_critical and true_values",
    )
    return parser


def _add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        nargs="+",
        default=[],
        metavar="RUN",
        help="metrics files of verl's file logger, or folders with one; NAME=RUN groups the seeds of a method",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")
    parser.add_argument("--title", default="GPO report")
    parser.add_argument("--limit", type=int, default=2000, help="most traces, evenly over all (default: 2000; 0: all)")
    parser.add_argument(
        "--continuation-chars", type=int, default=300, help="longest text of a continuation (default: 300)"
    )
    parser.add_argument("--plotly", type=Path, help="another bundle of plotly, such as plotly-basic.min.js")


def _report() -> argparse.ArgumentParser:
    parser = _parser(
        "",
        "Writes one self-contained page about runs and traces.",
        "Further commands: show (one trajectory in the terminal), inspect (a model and a data set, without a run).",
    )
    parser.add_argument("--traces", type=Path, help=f"folder with traces ({BLOCK}.trace_dir), or one of its files")
    _add_page(parser)
    return parser


def _show() -> argparse.ArgumentParser:
    parser = _parser(" show", "Prints one trajectory.")
    parser.add_argument("--traces", type=Path, required=True, help="folder with traces, or one of its files")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--uid", help="the prompt's uid")
    which.add_argument("--number", type=int, help="which trajectory, from 0; negative from the end (default: the last)")
    parser.add_argument("--continuations", action="store_true", help="print what was drawn as well; * is learnt from")
    return parser


def _inspect() -> argparse.ArgumentParser:
    parser = _parser(" inspect", "Searches what a model writes for critical steps, and writes the page.")
    parser.add_argument("--model", required=True, help="Hugging Face folder or name")
    parser.add_argument("--data", required=True, help="parquet file in verl's schema")
    parser.add_argument(
        "--reward", help="FILE.py or FILE.py:FUNCTION, as verl's custom reward function (default: verl_gpo.graders)"
    )
    add_template_option(parser)
    parser.add_argument("--traces", type=Path, help="new folder for the traces (default: OUT_traces, beside the page)")
    parser.add_argument("--prompts", type=int, default=32, help="first rows of the data (default: 32)")
    parser.add_argument("--roots", type=int, default=8, help="responses to each prompt (default: 8)")
    parser.add_argument("--response-length", type=int, default=1024, help="most tokens of a response (default: 1024)")
    parser.add_argument("--max-model-len", type=int, help="prompt and response (default: the model's)")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--engine", action="append", default=[], metavar="KEY=VALUE", help="setting of vLLM's engine")
    _add_page(parser)
    parser.add_argument("gpo", nargs="*", metavar="KEY=VALUE", help=f"settings of {BLOCK}, such as search=adaptive")
    return parser
