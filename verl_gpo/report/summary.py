"""``python -m verl_gpo.report.summary METRICS.jsonl... [--plot CURVE.png]``: runs as a table, and as a picture."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..traces.runlog import RunLog, generated_tokens
from .live import READY, phases_file

#: Metrics that are added up over the training steps; a run without re-entry has none of them.
_COUNTS = {
    "gpo/rollouts/root": "rollouts, root",
    "gpo/rollouts/branch": "rollouts, re-entry",
    "gpo/tokens/root": "tokens, root rollouts",
    "gpo/tokens/value": "tokens, Monte Carlo values",
    "gpo/tokens/reenter": "tokens, re-entry rollouts",
    "gpo/critical/found": "critical steps found",
    "gpo/failures/sampling": "continuations that failed",
    "gpo/failures/scoring": "rewards that failed",
}


def summary_rows(log: RunLog) -> list[tuple[str, str]]:
    """The lines of the table: what was measured, and its value."""
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
    """Share of the training steps' seconds in which a prompt, on average, waits: for polls, queues and stragglers.

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


def summaries(paths: Sequence[Path]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with one column a run; runs are named by the folder of their metrics file.

    Raises:
        OSError, ValueError: a file that cannot be read, or holds no training step.
    """
    columns = []
    for path in paths:
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
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(column.get(name, "") for column in columns)] for name in names]
    return ["", *(path.resolve().parent.name for path in paths)], rows


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


def plot(log: RunLog, path: str | Path) -> None:
    """Draw accuracy against generated tokens, and where the tokens went, into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    steps = sorted(log.steps)
    tokens = dict(zip(steps, itertools.accumulate(generated_tokens(log.steps[s]) for s in steps), strict=True))
    figure, (accuracy, cost) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")

    validation = log.validation()
    for name, label, color in (
        ("gpo/accuracy/root", "training, root rollouts", "tab:gray"),
        ("gpo/accuracy/branch", "training, re-entry rollouts", "tab:orange"),
    ):
        series = log.series(name)
        accuracy.plot([tokens[s] / 1000 for s in series], list(series.values()), color=color, lw=1, label=label)
    accuracy.plot(
        [tokens[s] / 1000 for s in validation],
        list(validation.values()),
        "o-",
        color="tab:blue",
        lw=2,
        label="validation",
    )
    accuracy.set(xlabel="tokens generated, thousands", ylabel="accuracy", ylim=(0, 1.02))
    accuracy.legend(loc="lower right", frameon=False)
    accuracy.grid(alpha=0.3)

    kinds = {"root rollouts": "root", "Monte Carlo values": "value", "re-entry rollouts": "reenter"}
    trained = [s for s in steps if generated_tokens(log.steps[s])]
    stacks = [[log.steps[s].get(f"gpo/tokens/{kind}", 0) / 1000 for s in trained] for kind in kinds.values()]
    cost.stackplot(trained, stacks, labels=list(kinds), colors=["tab:gray", "tab:green", "tab:orange"], alpha=0.8)
    cost.set(xlabel="training step", ylabel="tokens generated, thousands a step", ylim=(0, None))
    cost.legend(loc="lower right", framealpha=0.9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verl_gpo.report.summary", description=__doc__)
    parser.add_argument("metrics", type=Path, nargs="+", help="verl's metrics files, JSON lines, one a run")
    parser.add_argument("--plot", type=Path, help="write the curves of the first run to this PNG file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args(argv)
    try:
        header, rows = summaries(arguments.metrics)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print_table(header, rows, arguments.markdown)
    if arguments.plot:
        plot(RunLog.read(arguments.metrics[0]), arguments.plot)
        print(f"curves: {arguments.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
