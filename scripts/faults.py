"""Injects faults into real runs and prints what became of them: ``python -m scripts.faults``.

    python -m scripts.faults            the short ones: some minutes
    python -m scripts.faults --long     all of docs/reliability.md: an hour on two cores
    python -m scripts.faults --show scripts/results/faults.json

Each row is a fault of ``tests/faults``. ``--out`` keeps the raw result, from which the table is printed; of a file that
is there, the rows of faults that are injected again are replaced. Other arguments are pytest's, such as ``-k disk``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "scripts" / "results" / "faults.json"


def inject(long: bool, tests: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    """Run the tests of the faults.

    Args:
        long: the long ones, too.
        tests: arguments for pytest that choose among them.

    Returns:
        Their rows (``tests/faults/table.py``), and pytest's exit status.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        which = "faults" if long else "faults and not long"
        command = [sys.executable, "-m", "pytest", "tests/faults", "-m", which, *tests]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, "VERL_GPO_FAULT_TABLE": str(rows)}).returncode
        lines = rows.read_text().splitlines() if rows.exists() else []
    return [json.loads(line) for line in lines], status


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The old rows, those of faults that were injected again replaced, then the rows of other faults."""
    again = {row["fault"]: row for row in new}
    known = {row["fault"] for row in old}
    return [*(again.get(row["fault"], row) for row in old), *(row for row in new if row["fault"] not in known)]


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """One line: faults injected, survived, lost items, leftovers."""
    survived = sum(row["survived"] for row in rows)
    lost, left = (sum(len(row[name]) for row in rows) for name in ("lost", "leftovers"))
    return f"faults injected: {len(rows)}, survived: {survived}, lost items: {lost}, leftovers: {left}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| fault | promised | seen | seconds | lost | left |", "|---|---|---|---:|---:|---:|"]
    for row in rows:
        seen = ("" if row["survived"] else "**not kept**: ") + _cell(row["seen"])
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        cells = (row["fault"], row["promised"], seen, seconds, len(row["lost"]), len(row["leftovers"]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return textwrap.shorten(text.replace("|", "/"), 240, placeholder=" ...")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--long", action="store_true", help="the long ones, too")
    parser.add_argument("--out", type=Path, help="file for the raw result")
    parser.add_argument("--show", type=Path, help="print the table of a raw result, and inject nothing")
    arguments, tests = parser.parse_known_args(argv)
    if arguments.show:
        rows, status = json.loads(arguments.show.read_text(encoding="utf-8")), 0
    else:
        rows, status = inject(arguments.long, tests)
    if arguments.out:
        old = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
        rows = merged(old, rows)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(rows), summary(rows), sep="\n\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
