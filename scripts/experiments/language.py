"""Methods on a pretrained language model: what they reached, what they spent, and what their groups taught."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.experiments.cells import final_difference as difference
from scripts.experiments.cells import mean, multiple, points, ratio, table
from scripts.experiments.measures import groups
from scripts.experiments.rows import Run, by_cell
from scripts.experiments.tables import accuracy, at_equal, final

GRID = "language"


def _mine(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.grid == GRID]


def language(runs: Sequence[Run]) -> str:
    """The tables of the grid ``language``, or that nothing was trained."""
    mine = _mine(runs)
    if not mine:
        return "Not trained yet."
    parts = {
        "On the way and at the end.": curves(mine),
        "What was spent.": final(mine),
        "Seconds and tokens of a training step.": phases(mine),
        "At equal tokens, and at equal seconds.": at_equal(mine),
        "Groups that hold both outcomes.": groups(mine),
    }
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts.items())


def curves(runs: Sequence[Run]) -> str:
    """The accuracy at each evaluation, as a mean over seeds, and how far the weights have moved at the end."""
    rows = []
    steps = sorted({point.training_step for run in runs for point in run.points})
    for (regime, name), seeds in by_cell(runs).items():
        at = [{point.training_step: point for point in run.points} for run in seeds.values()]
        cells = [
            f"{100 * sum(curve[step].accuracy for curve in at) / len(at):.1f}" if all(step in c for c in at) else ""
            for step in steps
        ]
        moved = [curve[steps[-1]].distance for curve in at if steps[-1] in curve]
        far = f"{sum(moved) / len(moved):.3f}" if moved and None not in moved else ""
        rows.append((regime, name, len(seeds), *cells, far))
    return table(("regime", "method", "seeds", *(f"after {step}, %" for step in steps), "distance"), rows, 2)


def phases(runs: Sequence[Run]) -> str:
    """Mean seconds of a training step, of its rollout and its update, and what it generated."""
    rows = []
    for (regime, name), seeds in by_cell(runs).items():
        (steps,) = {run.training_steps for run in seeds.values()}
        spent = (
            mean(seeds, lambda run, column=column: getattr(run, column)) / steps
            for column in ("seconds", "seconds_gen", "seconds_update_actor", "tokens", "tokens_value", "tokens_reentry")
        )
        seconds, rollout, update, *tokens = spent
        times = (f"{one:.1f}" for one in (seconds, rollout, update))
        rows.append((regime, name, *times, *(f"{one:,.0f}" for one in tokens)))
    head = ("regime", "method", "seconds", "rolling out", "update", "tokens", "of the search", "of the re-entry")
    return table(head, rows, 2)


def short(runs: Sequence[Run]) -> str:
    """The README's table: each method's accuracy before and after, and against the first GRPO; empty without runs."""
    rows = []
    for (regime, name), seeds in (cells := by_cell(_mine(runs))).items():
        plain = next(others for (place, other), others in cells.items() if place == regime and other.startswith("grpo"))
        before = 100 * mean(seeds, lambda run: run.points[0].accuracy)
        against = (points(difference(seeds, plain)), ratio(multiple(seeds, plain, lambda run: run.tokens)))
        rows.append(
            (
                regime,
                f"`{name}`",
                len(seeds),
                f"{before:.1f}",
                accuracy(seeds),
                *(("", "") if seeds is plain else against),
            )
        )
    if not rows:
        return ""
    head = ("regime", "method", "seeds", "before, %", "after, % [95 %]", "points to GRPO", "x tokens")
    return table(head, rows, 2)
