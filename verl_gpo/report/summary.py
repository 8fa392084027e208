"""``python -m verl_gpo.report.summary METRICS.jsonl [--plot CURVE.png]``: a run as a table, and as a picture."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .live import READY, phases_file
from .runlog import RunLog, generated_tokens


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
    kinds = (("root", "root"), ("branch", "re-entry"))
    rows += [(f"rollouts, {label}", f"{log.total(f'gpo/rollouts/{kind}'):,.0f}") for kind, label in kinds]
    kinds = (("root", "root rollouts"), ("value", "Monte Carlo values"), ("reenter", "re-entry rollouts"))
    rows += [(f"tokens, {label}", f"{log.total(f'gpo/tokens/{kind}'):,.0f}") for kind, label in kinds]
    rows.append(("critical steps found", f"{log.total('gpo/critical/found'):,.0f}"))
    rows.append(
        ("requests that failed", f"{sum(log.total(f'gpo/failures/{k}') for k in ('sampling', 'scoring')):,.0f}")
    )
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
        sampling = [float(v) for k, v in metrics.items() if k.startswith("gpo/seconds/")] or [
            metrics.get("timing_s/gen", 0.0)
        ]
        work = ("old_log_prob", "ref", "values", "adv", "update_critic", "update_actor", "save_checkpoint")
        optimizing = [float(metrics.get(f"timing_s/{name}", 0.0)) for name in work]
        spent += metrics["timing_s/step"]
        outside += metrics["timing_s/step"] - sum(sampling) - sum(optimizing)
    return outside / spent if spent else 0.0


def print_summary(log: RunLog, console: Console | None = None, ready: float | None = None) -> None:
    """Print the table of :func:`summary_rows`; ``ready`` is the seconds from the start to "ready to fit"."""
    table = Table(title="GPO run", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in summary_rows(log):
        table.add_row(*row)
    if ready is not None:
        table.add_row("seconds from the start to ready to fit", f"{ready:.0f}")
    (console or Console()).print(table)


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
    cost.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verl_gpo.report.summary", description=__doc__)
    parser.add_argument("metrics", type=Path, help="verl's metrics file, JSON lines")
    parser.add_argument("--plot", type=Path, help="write the curves to this PNG file")
    arguments = parser.parse_args(argv)
    try:
        log = RunLog.read(arguments.metrics)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not log.steps:
        print(f"error: {arguments.metrics} holds no complete training step", file=sys.stderr)
        return 1
    phases = phases_file(arguments.metrics)
    ready = json.loads(phases.read_text(encoding="utf-8")).get(READY) if phases.exists() else None
    print_summary(log, ready=ready)
    if arguments.plot:
        plot(log, arguments.plot)
        print(f"curves: {arguments.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
