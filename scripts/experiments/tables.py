"""The complete tables that compare the methods of a grid: ``python -m scripts.experiments tables GRID`` prints them."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.experiments.cells import (
    final_difference,
    interval,
    listed,
    mean,
    multiple,
    p_value,
    points,
    ratio,
    shared,
    table,
    times,
)
from scripts.experiments.comparison import Reach, at_equal_cost, reach
from scripts.experiments.rows import Run, Seeds, by_cell
from verl_gpo.statistics import estimate

#: Variants in the grid ``sensitivity`` are compared with rows of their method in these grids, in this order.
_SENSITIVITY = ("sensitivity", "tokens")


def opposes(theirs: Run, ours: Run) -> bool:
    """Whether a method (``ours``) is compared with another one (``theirs``).

    Methods are compared with optimizers alone and with random resets, at the same learning rate, schedule and gradient
    clipping. An optimizer alone is not compared with anything. A method on another optimizer than GRPO is compared with
    that optimizer alone.
    """
    if ours.plain or ours.settings.learning != theirs.settings.learning:
        return False
    if ours.settings.optimizer != "grpo":
        return theirs.plain and theirs.settings.optimizer == ours.settings.optimizer
    if ours.method == "random":
        return theirs.method == "grpo"
    random = theirs.method == "random" and theirs.settings.optimizer == "grpo"
    return theirs.method in ("grpo", "ppo") or (random and theirs.name != ours.name)


def pairs_of(runs: Sequence[Run]) -> list[tuple[tuple[str, str, str], Seeds, Seeds]]:
    """All comparisons: regime, method and the other method, and the runs of both by seed."""
    found = by_cell(runs)
    one = {cell: next(iter(seeds.values())) for cell, seeds in found.items()}
    return [
        ((regime, name, other), ours, theirs)
        for (regime, name), ours in found.items()
        for (place, other), theirs in found.items()
        if place == regime and opposes(one[place, other], one[regime, name])
    ]


def comparison(runs: Sequence[Run]) -> str:
    """The tables of a grid, each below a title."""
    parts = {
        "Every method at the end of its runs": final(runs),
        "Differences at the end": at_the_end(runs),
        "At equal tokens, at equal seconds": at_equal(runs),
        "Tokens to the final accuracy of another method": to_reach(runs),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())


def accuracy(seeds: Seeds) -> str:
    """The final accuracy in percent: the mean over seeds with its interval; of one seed, the interval over problems."""
    if len(seeds) == 1:
        (run,) = seeds.values()
        return f"{100 * run.accuracy:.1f} [{100 * run.low:.1f}, {100 * run.high:.1f}] (problems)"
    found = estimate([run.accuracy for run in seeds.values()])
    return f"{100 * found.mean:.1f} {interval(found, 100, '.1f')}"


def final(runs: Sequence[Run]) -> str:
    """The final accuracy of every method, its settings, and what it spent."""
    rows = []
    for (regime, name), seeds in by_cell(runs).items():
        (one, *_) = seeds.values()
        steps = listed([run.training_steps for run in seeds.values()])
        prompts = listed([run.settings.prompts for run in seeds.values()])
        rate = one.settings.learning_rate
        settings = (steps, prompts, "the recipe's" if rate is None else f"{rate:g}")
        spent = (
            f"{mean(seeds, lambda run, column=column: getattr(run, column)):,.0f}"
            for column in ("tokens", "rows", "optimizer_steps", "seconds")
        )
        rows.append((regime, name, len(seeds), accuracy(seeds), *settings, *spent))
    head = ("regime", "method", "seeds", "accuracy, % [95 %]", "training steps", "prompts a step", "learning rate")
    return table((*head, "tokens", "rows", "optimizer steps", "seconds"), rows, 2)


def at_the_end(runs: Sequence[Run]) -> str:
    """Differences of final accuracies, and cost as a multiple of the other method's."""
    rows = []
    for names, ours, theirs in pairs_of(runs):
        pairs = final_difference(ours, theirs)
        costs = (
            multiple(ours, theirs, lambda run: run.tokens),
            multiple(ours, theirs, lambda run: run.optimizer_steps),
            multiple(ours, theirs, lambda run: run.seconds, same_machine=True),
        )
        rows.append((*names, pairs.seeds if pairs else 0, points(pairs), p_value(pairs), *map(times, costs)))
    head = ("regime", "method", "against", "seeds", "points [95 %]", "p")
    return table((*head, "x tokens", "x optimizer steps", "x seconds"), rows, 3)


def at_equal(runs: Sequence[Run], costs: Sequence[str] = ("tokens", "seconds")) -> str:
    """Differences of accuracies at equal cost: the most that both runs of a seed spent.

    Args:
        runs: of one grid.
        costs: columns of an evaluation: ``tokens``, ``seconds``, ``rows``, ``optimizer_steps``.
    """
    rows = []
    for names, ours, theirs in pairs_of(runs):
        row: list[object] = list(names)
        for cost in costs:
            both = shared(ours, theirs, same_machine=cost == "seconds")
            a, b = ({run.seed: run.points for run in side} for side in (zip(*both, strict=True) if both else ((), ())))
            found = at_equal_cost(a, b, cost)
            if found is None:
                row += [0, "none", "none", "none"]
            else:
                row += [found.pairs.seeds, f"{found.spent:,.0f}", points(found.pairs), p_value(found.pairs)]
        rows.append(row)
    head = ["regime", "method", "against"]
    for cost in costs:
        head += ["seeds", f"equal {cost.replace('_', ' ')}", "points [95 %]", "p"]
    return table(head, rows, 3)


def curves(seeds: Seeds) -> dict[int, tuple]:
    """The evaluations by seed."""
    return {seed: run.points for seed, run in seeds.items()}


def tokens_to_reach(ours: Seeds, theirs: Seeds) -> Reach | None:
    """The tokens until a method has the final accuracy of another one; None if no seed can be used."""
    return reach(curves(ours), curves(theirs))


def to_reach(runs: Sequence[Run]) -> str:
    """The tokens until a method has the final accuracy of another one, divided by the other one's tokens."""
    rows = []
    for names, ours, theirs in pairs_of(runs):
        found = tokens_to_reach(ours, theirs)
        if found is None:
            rows.append((*names, "none", "none", "none"))
        else:
            ratios = (ratio(found.of_whole, found.bound), ratio(found.of_first, found.bound))
            rows.append((*names, f"{found.reached} of {found.seeds}", *ratios))
    head = ("regime", "method", "final accuracy of", "seeds that reached it")
    return table((*head, "/ its whole run [95 %]", "/ where it first had it [95 %]"), rows, 3)


def sensitivity(runs: Sequence[Run]) -> str:
    """Variants of a method in the grid ``sensitivity``, compared with the method itself."""
    rows = []
    for (regime, name), ours in by_cell([run for run in runs if run.grid == "sensitivity"]).items():
        (one, *_) = ours.values()
        if not one.varied:
            continue
        theirs: dict[int, Run] = {}
        for run in sorted(runs, key=lambda run: run.grid != "sensitivity"):
            alike = (run.regime, run.method, run.settings) == (regime, one.method, one.base)
            if run.grid in _SENSITIVITY and alike and run.training_steps == one.training_steps:
                theirs.setdefault(run.seed, run)
        pairs, cost = final_difference(ours, theirs), multiple(ours, theirs, lambda run: run.tokens)
        equal = at_equal_cost(curves(ours), curves(theirs), "tokens")
        equally = equal.pairs if equal else None
        row = (regime, name, pairs.seeds if pairs else 0, points(pairs), p_value(pairs))
        multiples = "none" if cost is None else f"{cost.mean:.2f}"
        rows.append((*row, multiples, "none" if equally is None else points(equally), p_value(equally)))
    head = ("regime", "method", "seeds", "points at the end [95 %]", "p", "x tokens")
    return table((*head, "points at equal tokens [95 %]", "p"), rows, 2)
