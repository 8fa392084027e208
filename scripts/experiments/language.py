"""Methods on a pretrained language model: what they reached, what they spent, and what their groups taught."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.experiments.cells import final_difference, mean, multiple, points, table, times, titled
from scripts.experiments.measures import by_grid, groups
from scripts.experiments.rows import Run, by_cell
from scripts.experiments.tables import accuracy, at_equal, final

GRID = "language"


def language(runs: Sequence[Run]) -> str:
    """The tables of the grid ``language``, or that nothing was trained."""
    mine = by_grid(runs).get(GRID)
    if not mine:
        return "Not trained yet."
    parts = {
        "On the way and at the end.": curves(mine),
        "What was spent.": final(mine),
        "Seconds and tokens of a training step.": phases(mine),
        "At equal tokens, and at equal seconds.": at_equal(mine),
        "Groups that hold both outcomes.": groups(mine),
    }
    return titled(parts)


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
    """The README's table and what it shows: each method before and after, and against GRPO with the grid's settings.

    Empty if nothing was trained.
    """
    mine = by_grid(runs).get(GRID)
    if not mine:
        return ""
    rows = []
    for (regime, name), seeds in (cells := by_cell(mine)).items():
        first = next(other for place, other in cells if place == regime and other.startswith("grpo"))
        plain = cells.get((regime, "grpo"), cells[regime, first])
        before = 100 * mean(seeds, lambda run: run.points[0].accuracy)
        against = (
            points(final_difference(seeds, plain)),
            *(
                times(multiple(seeds, plain, lambda run, column=column: getattr(run, column)))
                for column in ("tokens", "rows", "optimizer_steps")
            ),
        )
        own = ("",) * len(against) if seeds is plain else against
        rows.append((regime, f"`{name}`", len(seeds), f"{before:.1f}", accuracy(seeds), *own))
    head = ("regime", "method", "seeds", "before, %", "after, % [95 %]", "points to GRPO")
    (steps,), (prompts,) = {run.training_steps for run in mine}, {run.settings.prompts for run in mine}
    (problems,) = {point.problems for run in mine for point in run.points}
    note = (
        "A language model, SmolLM2-135M-Instruct, after a short supervision on counting legs; "
        f"{steps} training steps of {prompts} prompts, accuracy on {problems} held-out problems. Rows of one or two "
        "seeds are no ranking; an interval over two seeds is narrow or wide by chance "
        "([recipes/smollm2](recipes/smollm2/README.md))."
    )
    return f"{table((*head, 'x tokens', 'x rows', 'x optimizer steps'), rows, 2)}\n\n{note}"
