"""Step credit, the authors' own form and down-sampling beside GRPO: what each reached at equal cost of each kind."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.experiments.cells import mean, multiple, ratio, table, titled
from scripts.experiments.measures import by_grid, groups
from scripts.experiments.rows import Run, by_cell
from scripts.experiments.tables import accuracy, at_equal, final

GRID = "credit"
#: GRPO with half its mini-batch: as many optimizer steps as the methods that add rows.
HALF = "grpo mini_batches=2"
#: GRPO with as many rows and optimizer steps as ``vineppo``.
FEW = "grpo prompts=2"


def credit(runs: Sequence[Run]) -> str:
    """The tables of the grid ``credit``, or that nothing was trained."""
    mine = by_grid(runs).get(GRID)
    if not mine:
        return "Not trained yet."
    others = [run for run in mine if run.method != "grpo"]
    half = [*others, *(run for run in mine if run.name == HALF)]
    few = [run for run in mine if run.method == "vineppo" or run.name == FEW]
    parts = {
        "Accuracy by the number of optimizer steps.": by_steps(mine),
        "What was spent.": final(mine),
        f"Against `{HALF}` at equal tokens, and at equal seconds.": at_equal(half),
        f"Against `{HALF}` at equal trained rows, and at equal optimizer steps.": at_equal(
            half, ("rows", "optimizer_steps")
        ),
        "Two prompts a step, at equal trained rows, and at equal tokens.": at_equal(few, ("rows", "tokens")),
        "Groups that hold both outcomes.": groups(mine),
    }
    return titled(parts)


def by_steps(runs: Sequence[Run]) -> str:
    """The accuracy of each method, in the order of optimizer steps, and its tokens as a multiple of GRPO's."""
    rows = []
    for regime in dict.fromkeys(run.regime for run in runs):
        cells = {name: seeds for (place, name), seeds in by_cell(runs).items() if place == regime}
        plain = cells["grpo"]
        for name, seeds in sorted(cells.items(), key=lambda cell: mean(cell[1], lambda run: run.optimizer_steps)):
            steps = f"{mean(seeds, lambda run: run.optimizer_steps):.0f}"
            times = ratio(multiple(seeds, plain, lambda run: run.tokens))
            rows.append((regime, name, len(seeds), steps, times, accuracy(seeds)))
    return table(("regime", "method", "seeds", "optimizer steps", "x tokens", "accuracy, % [95 %]"), rows, 2)
