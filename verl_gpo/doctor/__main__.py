"""Check what this machine has for a training. The exit status is 1 if something that a training needs is missing.

    python -m verl_gpo.doctor          # half a minute to a minute
    python -m verl_gpo.doctor --run    # also trains a tiny model for two steps, which takes a few minutes

Prints one line for each check: what was found, ``ok``, ``note`` (it works, at a cost) or ``WRONG`` (a training fails),
and what to do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from . import machine, software, versions
from .finding import NOTE, WRONG, Finding
from .trial import trial

#: The checks, by the name that ``--only`` takes.
CHECKS: dict[str, Callable[[], Finding | list[Finding]]] = {
    "python": machine.python,
    "accelerator": machine.driver,
    "torch": software.torch,
    "vllm": software.vllm,
    "verl": software.verl_and_plugin,
    "flash-attn": software.flash_attention,
    "transferqueue": software.transfer_queue,
    "ray": software.ray,
    "shm": machine.shared_memory,
    "disk": machine.disk,
    "versions": versions.compare,
}
_STYLE = {WRONG: "bold red", NOTE: "yellow"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m verl_gpo.doctor", description=__doc__.partition("\n")[0])
    parser.add_argument("--run", action="store_true", help="also train a tiny model for two steps")
    parser.add_argument(
        "--only", nargs="+", choices=CHECKS, metavar="CHECK", help=f"only these checks: {', '.join(CHECKS)}"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: the findings, and with --run the metrics of the last step"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks and print the table. Returns the exit status: 1 if any line of it is wrong."""
    args = _parser().parse_args(argv)
    console = Console(highlight=False, stderr=args.json, width=None if sys.stdout.isatty() else 240)
    findings: list[Finding] = []
    for name in args.only or CHECKS:
        with console.status(f"{name} ..."):
            found = CHECKS[name]()
        findings += found if isinstance(found, list) else [found]
    metrics: dict = {}
    if args.run:
        with console.status("two training steps of a tiny model ..."):
            lines, metrics = trial()
        findings += lines
    if args.json:
        print(json.dumps({"findings": [asdict(item) for item in findings], "metrics": metrics}))
    else:
        console.print(_table(findings))
    return int(any(item.state == WRONG for item in findings))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "", "found", "what to do"):
        table.add_column(title, overflow="fold", no_wrap=title == "")
    for item in findings:
        table.add_row(item.name, item.state, item.found, item.remedy, style=_STYLE.get(item.state))
    return table


if __name__ == "__main__":
    sys.exit(main())
