"""The tables of ``docs/evidence.md``, one for each question that it asks, and the short one of the README.

They show a part of what the tables of :mod:`scripts.experiments.tables` and :mod:`scripts.experiments.measures` show.
Each function gets all rows and returns a Markdown table.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from fractions import Fraction

from scripts.experiments.cells import final_difference, mean, multiple, p_value, points, ratio, table
from scripts.experiments.comparison import at_equal_cost
from scripts.experiments.distance import farther
from scripts.experiments.measures import hit_rate, mixed, phase_seconds, step_seconds
from scripts.experiments.rows import Run, Seeds, by_cell
from scripts.experiments.tables import accuracy, curves, tokens_to_reach

#: GRPO with half its mini-batch: it takes as many optimizer steps as GPO does with its added rows.
TWICE = "grpo mini_batches=2"
#: GRPO with half the rollouts for each prompt and twice the prompts, so with as many rows.
FEWER = "grpo prompts=4 rollouts=4"
#: Grids at equal prompts and training steps, and at equal tokens.
PROTOCOL, EQUAL_TOKENS = ("protocol", "protocol24"), ("tokens", "few", "skills")
#: regime -> method -> the highest decaying learning rate at which none of its runs collapsed for good.
HIGHEST = {
    "skills12": {"lean": 3e-3, "grpo": 4e-3, FEWER: 4e-3},
    "skills24": {"lean": 2e-3, "grpo": 3e-3, FEWER: 3e-3},
}


def places(runs: Sequence[Run], grids: Sequence[str]) -> Iterator[tuple[str, str, dict[str, dict[int, Run]]]]:
    """The regimes of some grids.

    Yields:
        The grid, the regime, and its runs: name of a method -> seed -> run.
    """
    for grid in grids:
        found: dict[str, dict[str, dict[int, Run]]] = {}
        for (regime, name), seeds in by_cell([run for run in runs if run.grid == grid]).items():
            found.setdefault(regime, {})[name] = seeds
        for regime, named in found.items():
            yield grid, regime, named


def summary(runs: Sequence[Run], without: Sequence[str] = ()) -> str:
    """The number of regimes in which a method ends above another one, or below it, with p < 0.05, and its tokens.

    Args:
        without: methods that are left out.
    """
    compared = [(PROTOCOL, name, "grpo") for name in ("gpo_paper", "gpo_fast", "random", TWICE)]
    compared += [(PROTOCOL, name, TWICE) for name in ("gpo_paper", "gpo_fast")]
    compared += [(EQUAL_TOKENS, name, "grpo") for name in ("gpo_fast", "lean", "random", "oracle")]
    rows = []
    for grids, ours, theirs in compared:
        if ours in without:
            continue
        found = [
            (final_difference(named[ours], named[theirs]), multiple(named[ours], named[theirs], lambda run: run.tokens))
            for _, _, named in places(runs, grids)
            if ours in named and theirs in named
        ]
        found = [(pairs, cost) for pairs, cost in found if pairs and cost]
        if not found:
            continue
        sure = [pairs.difference.mean for pairs, _ in found if pairs.p is not None and pairs.p < 0.05]
        differences = [100 * pairs.difference.mean for pairs, _ in found]
        costs = [cost.mean for _, cost in found]
        rows.append(
            (
                "prompts and steps" if grids is PROTOCOL else "tokens and steps",
                f"`{ours}`",
                f"`{theirs}`",
                len(found),
                sum(one > 0 for one in sure),
                sum(one < 0 for one in sure),
                f"{min(differences):+.1f} to {max(differences):+.1f}",
                f"{min(costs):.2f} to {max(costs):.2f}",
            )
        )
    head = ("at equal", "method", "against", "regimes", "above, p < 0.05", "below, p < 0.05", "points", "x tokens")
    return table(head, rows, 3)


def protocol(runs: Sequence[Run]) -> str:
    """Equal prompts and training steps: differences from GRPO, and tokens as a multiple of GRPO's."""
    return _against_grpo(runs, PROTOCOL, (TWICE, "gpo_paper", "gpo_fast", "random"))


def equal_tokens(runs: Sequence[Run]) -> str:
    """Equal optimizer steps and about as many tokens: differences from GRPO at the end."""
    return _against_grpo(runs, EQUAL_TOKENS, ("gpo_fast", "lean", "random", "oracle"))


def _against_grpo(runs: Sequence[Run], grids: Sequence[str], names: Sequence[str]) -> str:
    rows = []
    for grid, regime, named in places(runs, grids):
        plain = named.get("grpo", {})
        if plain:
            against = (_difference(named.get(name, {}), plain) for name in names)
            rows.append((grid, regime, _start(plain), accuracy(plain), *against))
    return table(("grid", "regime", "start, %", "`grpo`, % [95 %]", *(f"`{name}`" for name in names)), rows, 2)


def _start(seeds: Seeds) -> str:
    """The accuracy before the training in percent, mean over seeds."""
    starts = [run.points[0].accuracy for run in seeds.values() if run.points and run.points[0].training_step == 0]
    return f"{100 * statistics.fmean(starts):.1f}" if starts else ""


def _difference(ours: Seeds, theirs: Seeds) -> str:
    """One cell of a table: difference of final accuracies, p, number of seeds, and tokens."""
    pairs, cost = final_difference(ours, theirs), multiple(ours, theirs, lambda run: run.tokens)
    if pairs is None or cost is None:
        return ""
    return f"{points(pairs)}<br>p {p_value(pairs)}, {pairs.seeds} seeds, {cost.mean:.2f} x tokens"


def same_optimizer_steps(runs: Sequence[Run]) -> str:
    """The presets against GRPO with as many optimizer steps, at the end of both runs and at equal tokens."""
    rows = []
    for grid, regime, named in places(runs, PROTOCOL):
        for name in ("gpo_paper", "gpo_fast"):
            ours, theirs = named.get(name, {}), named.get(TWICE, {})
            pairs, equal = final_difference(ours, theirs), at_equal_cost(curves(ours), curves(theirs), "tokens")
            cost = multiple(ours, theirs, lambda run: run.tokens)
            steps = multiple(ours, theirs, lambda run: run.optimizer_steps)
            if pairs and equal and cost and steps:
                at_end = (pairs.seeds, points(pairs), p_value(pairs), f"{steps.mean:.2f}", f"{cost.mean:.2f}")
                rows.append((grid, regime, name, *at_end, points(equal.pairs), p_value(equal.pairs)))
    head = ("grid", "regime", "method", "seeds", "points at the end [95 %]", "p", "x optimizer steps", "x tokens")
    return table((*head, "points at equal tokens [95 %]", "p"), rows, 3)


def same_rate(runs: Sequence[Run]) -> str:
    """``lean`` at equal optimizer steps and learning rate: its gain, and how far it moves the weights.

    In ``skills12`` the rate is 1e-3 and constant. In ``skills24``, where runs collapse at a constant rate, it is 2e-3
    and decays.
    """
    rows = []
    for regime, learning in (("skills12", (1e-3, "constant", 1.0)), ("skills24", (2e-3, "cosine", 1.0))):
        alike = [run for run in runs if (run.grid, run.regime, run.settings.learning) == ("skills", regime, learning)]
        ours = _named_at(alike, "lean")
        for name in ("grpo", FEWER, "random"):
            theirs = _named_at(alike, name)
            pairs, cost = final_difference(ours, theirs), multiple(ours, theirs, lambda run: run.tokens)
            reached, equal = tokens_to_reach(ours, theirs), at_equal_cost(curves(ours), curves(theirs), "distance")
            if pairs and cost and reached and equal:
                there = ratio(reached.of_whole, reached.bound)
                moved = ratio(farther(ours, theirs, Fraction(1, 3)))
                ends = (pairs.seeds, points(pairs), p_value(pairs), f"{cost.mean:.2f}", there)
                rows.append((regime, f"`{name}`", *ends, moved, points(equal.pairs), p_value(equal.pairs)))
    head = ("regime", "`lean` against", "seeds", "points [95 %]", "p", "x tokens", "tokens until it is there [95 %]")
    return table((*head, "x distance after a third [95 %]", "points at equal distance [95 %]", "p"), rows, 2)


def _named_at(runs: Sequence[Run], name: str) -> Seeds:
    """The runs of one method by seed, whatever its learning rate. ``runs`` are of one regime and one rate."""
    return {run.seed: run for run in runs if run.name_at_any_rate == name}


def rates(runs: Sequence[Run]) -> str:
    """Final accuracy in the grid ``skills`` at each learning rate: the mean over seeds, and the lowest run."""
    names = ("grpo", FEWER, "random", "lean")
    found: dict[tuple, dict[str, list[float]]] = {}
    for run in runs:
        if run.grid == "skills" and run.name_at_any_rate in names:
            by_name = found.setdefault((run.regime, run.settings.learning), {})
            by_name.setdefault(run.name_at_any_rate, []).append(run.accuracy)
    rows = []
    order = sorted(found.items(), key=lambda one: (one[0][0], one[0][1][1] != "constant", one[0][1][0], -one[0][1][2]))
    for (regime, (rate, schedule, clip)), by_name in order:
        cells = (
            f"{100 * statistics.fmean(reached):.1f}, {100 * min(reached):.1f} ({len(reached)})"
            if (reached := by_name.get(name))
            else ""
            for name in names
        )
        rows.append((regime, f"{rate:g}", schedule, f"{clip:g}", *cells))
    head = ("regime", "learning rate", "schedule", "clip_grad", *(f"`{name}`" for name in names))
    return table(head, rows, 4)


def each_at_its_rate(runs: Sequence[Run]) -> str:
    """``lean`` against GRPO, each at its own learning rate (`HIGHEST`)."""
    rows = []
    for regime, highest in HIGHEST.items():
        at_rate = {}
        for name, rate in highest.items():
            wanted = ("skills", regime, (rate, "cosine", 1.0))
            at_rate[name] = _named_at([r for r in runs if (r.grid, r.regime, r.settings.learning) == wanted], name)
        ours = at_rate["lean"]
        for name in ("grpo", FEWER):
            pairs, cost = final_difference(ours, at_rate[name]), multiple(ours, at_rate[name], lambda run: run.tokens)
            reached = tokens_to_reach(ours, at_rate[name])
            if pairs and cost:
                there = ratio(reached.of_whole, reached.bound) if reached else "none"
                of_rates = (f"{highest['lean']:g}", f"{highest[name]:g}")
                ends = (pairs.seeds, points(pairs), p_value(pairs), f"{cost.mean:.2f}", there)
                rows.append((regime, f"`{name}`", *of_rates, *ends))
    head = (
        "regime",
        "`lean` against",
        "rate of `lean`",
        "rate of the other",
        "seeds",
        "points [95 %]",
        "p",
        "x tokens",
    )
    return table((*head, "tokens until it is there [95 %]"), rows, 2)


def found(runs: Sequence[Run]) -> str:
    """The share of chosen steps that are hard, and the share of re-entry groups that have both outcomes."""
    names = ("random", "gpo_paper", "gpo_fast")
    rows = []
    for grid, regime, named in places(runs, PROTOCOL):
        cells = []
        for name in names:
            seeds = named.get(name, {})
            rate, share = hit_rate(seeds), mixed(seeds, "reentry_mixed")
            cells.append(f"{rate[0]:.2f}, {share.mean:.2f}" if rate and share else "")
        if any(cells):
            rows.append((grid, regime, *cells))
    return table(("grid", "regime", *(f"`{name}`: hard step, mixed group" for name in names)), rows, 2)


def seconds(runs: Sequence[Run]) -> str:
    """Seconds of a training step in ``spread8`` of the grid ``protocol``: by phase, and as a multiple of GRPO's."""
    phases = {"gen": "sampling", "old_log_prob": "old log-probs", "update_actor": "update"}
    rows = []
    for _, regime, named in places(runs, ("protocol",)):
        for name, seeds in named.items() if regime == "spread8" else ():
            plain = named.get("grpo", {})
            whole = mean(seeds, step_seconds)
            parts = (f"{mean(seeds, lambda run, phase=phase: phase_seconds(run, phase)):.2f}" for phase in phases)
            against = (
                ratio(multiple(seeds, plain, step_seconds, same_machine=True)),
                ratio(multiple(seeds, plain, lambda run: run.seconds / run.rows, same_machine=True)),
            )
            rows.append((f"`{name}`", len(seeds), f"{whole:.2f}", *parts, *against))
    head = ("method", "seeds", "seconds a step", *phases.values(), "x GRPO [95 %]", "x GRPO for each row [95 %]")
    return table(head, rows, 1)
