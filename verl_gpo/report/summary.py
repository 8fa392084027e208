"""``python -m verl_gpo.report.summary [NAME=]RUN... [--plot CURVE.png]``: runs side by side, as a table and a picture.

A run is a metrics file of verl's file logger, or the folder that has it. A difference between two single runs is not
evidence for a method; ``python -m verl_gpo.report`` compares runs of several seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..traces.runlog import RunLog
from .curves import draw
from .live import READY, phases_file
from .runs import named_files

#: Metrics that are summed over the training steps; a run without re-entry has none of them.
_COUNTS = {
    "gpo/rollouts/root": "rollouts, root",
    "gpo/rollouts/reentry": "rollouts, re-entry",
    "gpo/optimizer_steps": "optimizer steps",
    "gpo/tokens/root": "tokens, root rollouts",
    "gpo/tokens/value": "tokens, Monte Carlo values",
    "gpo/tokens/reentry": "tokens, re-entry rollouts",
    "gpo/critical/found": "critical steps found",
    "gpo/failures/sampling": "continuations that failed",
    "gpo/failures/scoring": "rewards that failed",
}


def summary_rows(log: RunLog) -> list[tuple[str, str]]:
    """The lines of the table: name and value of each measured quantity."""
    rows = []
    validation = log.validation()
    if validation:
        first, last = min(validation), max(validation)
        rows.append((f"validation accuracy before (step {first})", f"{validation[first]:.3f}"))
        rows.append((f"validation accuracy after (step {last})", f"{validation[last]:.3f}"))
    trained = log.series("timing_s/step")
    rows.append(("training steps", f"{len(trained)}"))
    for key, label in _COUNTS.items():
        if log.series(key):
            rows.append((label, f"{log.total(key):,.0f}"))
    if trained:
        later = [seconds for step, seconds in trained.items() if step > min(trained)] or list(trained.values())
        rows.append(("seconds a training step, the first left out", f"{sum(later) / len(later):.2f}"))
        rows.append(("share of a step that is neither sampling, scoring nor optimizing", f"{overhead_share(log):.1%}"))
        rows.append(("seconds, all training steps", f"{sum(trained.values()):,.0f}"))
    return rows


def overhead_share(log: RunLog) -> float:
    """Share of the training steps' seconds in which a prompt, on average, waits: for polls, queues and slow prompts.

    Sampling and scoring are the phases of the average prompt (``gpo/seconds/*``; verl's ``timing_s/gen`` without them);
    optimizing is verl's log-probs, values, advantages and updates.
    """
    spent = outside = 0.0
    for metrics in log.steps.values():
        if "timing_s/step" not in metrics:
            continue
        sampling = [float(v) for k, v in metrics.items() if k.startswith("gpo/seconds/")]
        sampling = sampling or [float(metrics.get("timing_s/gen", 0.0))]
        work = ("old_log_prob", "ref", "values", "adv", "update_critic", "update_actor", "save_checkpoint")
        optimizing = [float(metrics.get(f"timing_s/{name}", 0.0)) for name in work]
        spent += metrics["timing_s/step"]
        outside += metrics["timing_s/step"] - sum(sampling) - sum(optimizing)
    return outside / spent if spent else 0.0


def summaries(runs: Sequence[tuple[str, Path]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with one column for each run.

    Args:
        runs: name and metrics file of each.

    Raises:
        OSError, ValueError: a file that cannot be read, or holds no training step.
    """
    columns = []
    for _, path in runs:
        log = RunLog.read(path)
        if not log.steps:
            raise ValueError(f"{path} holds no complete training step")
        column = dict(summary_rows(log))
        phases = phases_file(path)
        if phases.exists():
            ready = json.loads(phases.read_text(encoding="utf-8")).get(READY)
            if ready is not None:
                column["seconds from the start to ready to fit"] = f"{ready:.0f}"
        columns.append(column)
    rows = list(dict.fromkeys(row for column in columns for row in column))
    return ["", *(name for name, _ in runs)], [[row, *(column.get(row, "") for column in columns)] for row in rows]


def print_table(header: list[str], rows: list[list[str]], markdown: bool, console: Console | None = None) -> None:
    """Print a table for people, or for a Markdown file."""
    console = console or Console()
    if markdown:
        lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
        console.print("\n".join("| " + " | ".join(line) + " |" for line in lines), soft_wrap=True, highlight=False)
        return
    table = Table()
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.report.summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="a metrics file, or the folder that holds one")
    parser.add_argument("--plot", type=Path, help="write the curves of the runs to this PNG file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args(argv)
    try:
        runs = named_files(arguments.runs)
        header, rows = summaries(runs)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print_table(header, rows, arguments.markdown)
    if arguments.plot:
        draw({name: RunLog.read(path) for name, path in runs}, arguments.plot)
        print(f"curves: {arguments.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
