"""Methods against each other: the comparing sections of ``docs/evidence.md``, and the README's table."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.evidence_format import (
    Seeds,
    cells,
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
)
from scripts.evidence_rows import Run, optimizer_part
from scripts.evidence_statistics import Reach, at_equal_cost, reach
from verl_gpo.report.runs import estimate

#: What methods with a search of their own are compared with.
_CONTROLS = ("grpo", "grpo_tokens", "random", "ppo")
#: Methods with other opponents: a baseline has none, a control its own baseline.
_OPPONENTS: dict[str, tuple[str, ...]] = {
    "grpo": (),
    "grpo_tokens": (),
    "ppo": (),
    "gpo_ppo": ("ppo",),
    "random": ("grpo", "grpo_tokens"),
}
#: Methods of the summary, by column: half of GRPO's mini-batch is 4 of eight prompts, and 2 of four.
HEADLINE = {
    "GRPO, half its mini-batch": ("grpo:mini_batch=4", "grpo:mini_batch=2"),
    **{f"`{name}`": (name,) for name in ("gpo_paper", "gpo_fast", "informative", "random", "oracle")},
}
#: Grid -> what its methods are compared with there.
BASELINE = {
    "protocol": "grpo",
    "protocol24": "grpo",
    "tokens": "grpo_tokens",
    "few": "grpo_tokens",
    "skills": "grpo_tokens",
}


def opponents(method: str, available: Sequence[str]) -> list[str]:
    """What a method is compared with, out of the methods of its grid.

    A variant is an opponent of all that its method is an opponent of, but for ``grpo_tokens:M``, which has the tokens
    of the method ``M`` and is an opponent of that method alone. The optimizer is set alike.
    """
    wanted = _OPPONENTS.get(method.partition(":")[0], _CONTROLS)

    def opposes(name: str) -> bool:
        base, varied, what = name.partition(":")
        alike = optimizer_part(name) == optimizer_part(method)
        return base in wanted and name != method and alike and not (varied and base == "grpo_tokens" and what != method)

    return [name for name in available if opposes(name)]


def pairs_of(runs: Sequence[Run]) -> list[tuple[tuple[str, str, str], Seeds, Seeds]]:
    """Regime, method and opponent, and the runs of both by seed."""
    found = cells(runs)
    return [
        ((regime, method, other), ours, found[regime, other])
        for (regime, method), ours in found.items()
        for other in opponents(method, [name for place, name in found if place == regime])
    ]


def comparison(runs: Sequence[Run], grid: str) -> str:
    """All tables of a grid."""
    mine = [run for run in runs if run.grid == grid]
    if not mine:
        return f"No rows yet of `python scripts/experiment.py scripts/experiments/{grid}.yaml`."
    parts = {
        "Every cell at its end": final(mine),
        "At the end": at_the_end(mine),
        "At equal tokens, at equal seconds": at_equal(mine),
        "Tokens to the opponent's final accuracy": to_reach(mine),
    }
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts.items())


def final(runs: Sequence[Run]) -> str:
    """Every cell at its end: accuracy over seeds, or, of a single seed, its interval over problems."""
    rows = []
    for (regime, method), seeds in cells(runs).items():
        found = estimate([run.accuracy for run in seeds.values()])
        accuracy = f"{100 * found.mean:.1f} {interval(found, 100, '.1f')}"
        if len(seeds) == 1:
            (run,) = seeds.values()
            accuracy = f"{100 * run.accuracy:.1f} [{100 * run.low:.1f}, {100 * run.high:.1f}] (problems)"
        settings = (
            listed([f"{getattr(run, name):g}" for run in seeds.values()])
            for name in ("training_steps", "prompts", "learning_rate")
        )
        spent = (
            f"{mean(seeds, lambda run, name=name: getattr(run, name)):,.0f}"
            for name in ("tokens", "rows", "optimizer_steps", "seconds")
        )
        rows.append((regime, method, len(seeds), accuracy, *settings, *spent))
    head = ("regime", "method", "seeds", "accuracy, % [95 %]", "training steps", "prompts a step", "learning rate")
    return table((*head, "tokens", "rows", "optimizer steps", "seconds"), rows, 2)


def at_the_end(runs: Sequence[Run]) -> str:
    """Final accuracies against each other, and what they cost as multiples of the opponent's."""
    rows = []
    for names, ours, theirs in pairs_of(runs):
        pairs = final_difference(ours, theirs)
        costs = (
            multiple(ours, theirs, lambda run: run.tokens),
            multiple(ours, theirs, lambda run: run.optimizer_steps),
            multiple(ours, theirs, lambda run: run.seconds, same_machine=True),
        )
        multiples = ("none" if cost is None else f"{cost.mean:.2f}" for cost in costs)
        rows.append((*names, pairs.seeds if pairs else 0, points(pairs), p_value(pairs), *multiples))
    head = ("regime", "method", "against", "seeds", "points [95 %]", "p")
    return table((*head, "x tokens", "x optimizer steps", "x seconds"), rows, 3)


def at_equal(runs: Sequence[Run]) -> str:
    """Accuracies at the most tokens, and at the most seconds, that both runs of a seed had spent."""
    rows = []
    for names, ours, theirs in pairs_of(runs):
        row: list[object] = list(names)
        for cost in ("tokens", "seconds"):
            both = shared(ours, theirs, same_machine=cost == "seconds")
            a, b = ({run.seed: run.points for run in side} for side in (zip(*both, strict=True) if both else ((), ())))
            found = at_equal_cost(a, b, cost)
            if found is None:
                row += [0, "none", "none", "none"]
            else:
                row += [found.pairs.seeds, f"{found.spent:,.0f}", points(found.pairs), p_value(found.pairs)]
        rows.append(row)
    head = ["regime", "method", "against"]
    for cost in ("tokens", "seconds"):
        head += ["seeds", f"equal {cost}", "points [95 %]", "p"]
    return table(head, rows, 3)


def tokens_to_reach(ours: Seeds, theirs: Seeds) -> Reach | None:
    """Tokens until a method has what its opponent has at the end; None without seeds that say so."""
    a, b = ({seed: run.points for seed, run in runs.items()} for runs in (ours, theirs))
    return reach(a, b)


def to_reach(runs: Sequence[Run]) -> str:
    """Tokens until a method has what its opponent has at the end, over the opponent's tokens."""
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
    """Variants of a method against the method as it is.

    The latter may stand in the grid ``tokens``, whose rows and optimizer steps these have, if it was run with as many
    prompts, training steps and the same learning rate.
    """
    rows = []
    for (regime, method), ours in cells([run for run in runs if run.grid == "sensitivity"]).items():
        base, sign, varied = method.partition(":")
        if not sign:
            continue
        theirs: dict[int, Run] = {}
        for run in sorted(runs, key=lambda run: run.grid != "sensitivity"):
            twin = ours.get(run.seed)
            if (
                run.grid in ("sensitivity", "tokens")
                and (run.regime, run.method) == (regime, base)
                and twin
                and _size(run) == _size(twin)
            ):
                theirs.setdefault(run.seed, run)
        pairs, cost = final_difference(ours, theirs), multiple(ours, theirs, lambda run: run.tokens)
        equal = at_equal_cost(*({seed: run.points for seed, run in side.items()} for side in (ours, theirs)), "tokens")
        alike = equal.pairs if equal else None
        row = (regime, base, varied, pairs.seeds if pairs else 0, points(pairs), p_value(pairs))
        multiples = "none" if cost is None else f"{cost.mean:.2f}"
        rows.append((*row, multiples, "none" if alike is None else points(alike), p_value(alike)))
    if not rows:
        return "No rows yet of `python scripts/experiment.py scripts/experiments/sensitivity.yaml`."
    head = ("regime", "method", "varied", "seeds", "points at the end [95 %]", "p", "x tokens")
    return table((*head, "points at equal tokens [95 %]", "p"), rows, 3)


def _size(run: Run) -> tuple[int, int, float]:
    return run.training_steps, run.prompts, run.learning_rate


def summary(runs: Sequence[Run]) -> str:
    """The README's table: the headline methods against the baseline of each grid.

    A cell has the difference at the end, the tokens as a multiple of the baseline's, and ``there at``, the tokens until
    the baseline's final accuracy as a share of the baseline's.
    """
    rows = []
    for grid, baseline in BASELINE.items():
        found = cells([run for run in runs if run.grid == grid])
        for regime in dict.fromkeys(regime for regime, _ in found):
            plain = found.get((regime, baseline), {})
            accuracy = f"{100 * mean(plain, lambda run: run.accuracy):.1f}, {len(plain)} seeds" if plain else ""
            against = []
            for names in HEADLINE.values():
                method = next((name for name in names if (regime, name) in found), names[0])
                theirs = found.get((regime, f"{baseline}:{method}"), plain)
                against.append(_headline(found.get((regime, method), {}), theirs))
            rows.append((grid, regime, accuracy, *against))
    if not rows:
        return "No rows yet of `python scripts/experiment.py`."
    return table(("grid", "regime", "GRPO, %", *HEADLINE), rows, 2)


def _headline(ours: Seeds, theirs: Seeds) -> str:
    if not ours:
        return ""
    pairs, cost, found = (
        final_difference(ours, theirs),
        multiple(ours, theirs, lambda run: run.tokens),
        tokens_to_reach(ours, theirs),
    )
    if pairs is None or cost is None:
        return "no shared seed"
    lines = [points(pairs), f"p {p_value(pairs)}, {pairs.seeds} seeds", f"{cost.mean:.2f} x tokens"]
    return "<br>".join(lines + ([f"there at {ratio(found.of_whole, found.bound)}"] if found else []))
