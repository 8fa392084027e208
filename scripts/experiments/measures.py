"""Tables of what was run, what the searches found, and the seconds of each phase. Each gets the rows of grids."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scripts.experiments.cells import interval, listed, mean, multiple, ratio, table
from scripts.experiments.rows import Run, Seeds, by_cell
from verl_gpo.statistics import Estimate, estimate, wilson_interval

PHASES = ("gen", "old_log_prob", "update_actor", "update_critic", "update_weights")


def by_grid(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each grid."""
    return {name: [run for run in runs if run.grid == name] for name in dict.fromkeys(run.grid for run in runs)}


def status(runs: Sequence[Run]) -> str:
    """The number of runs of each grid, the machine and the commit."""
    rows = []
    for grid, mine in by_grid(runs).items():
        regimes, names, seeds = ({getattr(run, key) for run in mine} for key in ("regime", "name", "seed"))
        count = f"{len(mine)} of {len(regimes) * len(names) * len(seeds)}"
        machines = listed([run.device + (f", {run.cores} cores" if run.cores else "") for run in mine])
        commits = listed([run.commit[:9] for run in mine])
        rows.append((grid, machines, commits, len(regimes), len(names), len(seeds), count))
    return table(("grid", "machine", "commit", "regimes", "methods", "seeds", "runs"), rows, 3)


def mixed(seeds: Seeds, kind: str) -> Estimate | None:
    """The share of groups whose outcomes differ, over seeds.

    Args:
        kind: ``root_mixed`` or ``reentry_mixed``.

    Returns:
        None if there were no groups of this kind.
    """
    known = [share for run in seeds.values() if (share := getattr(run, kind)) is not None]
    return estimate(known) if known else None


def groups(runs: Sequence[Run]) -> str:
    """The share of groups with both outcomes. Only these give a gradient."""
    rows = []
    for grid, mine in by_grid(runs).items():
        for (regime, method), seeds in by_cell(mine).items():
            shares: list[object] = []
            for kind in ("root_mixed", "reentry_mixed"):
                found = mixed(seeds, kind)
                count = sum(getattr(run, kind) is not None for run in seeds.values())
                shares += [count, "none" if found is None else f"{found.mean:.2f} {interval(found)}"]
            rows.append((grid, regime, method, *shares))
    head = ("grid", "regime", "method", "seeds", "root, mixed [95 %]", "seeds", "reset state, mixed [95 %]")
    return table(head, rows, 3)


def hit_rate(seeds: Seeds) -> tuple[float, float, float] | None:
    """How many of the chosen steps are hard ones.

    Returns:
        The share, the number of hard ones, and the number of all; None if no step was chosen, or if the task does not
        know which steps are hard.
    """
    known = [(run.hits, run.chosen) for run in seeds.values() if run.hits is not None and run.chosen]
    hit, chosen = (sum(column) for column in zip(*known, strict=True)) if known else (0, 0)
    return (hit / chosen, hit, chosen) if chosen else None


def hits(runs: Sequence[Run]) -> str:
    """The share of chosen steps that are hard ones, over all seeds together, with Wilson's interval."""
    rows = []
    for grid, mine in by_grid(runs).items():
        for (regime, method), seeds in by_cell(mine).items():
            if found := hit_rate(seeds):
                rate, hit, chosen = found
                low, high = wilson_interval(rate, chosen)
                count = sum(run.hits is not None and bool(run.chosen) for run in seeds.values())
                share = f"{rate:.2f} [{low:.2f}, {high:.2f}]"
                rows.append((grid, regime, method, count, f"{hit:,.0f} of {chosen:,.0f}", share))
    return table(("grid", "regime", "method", "seeds", "hits", "hit rate [95 %]"), rows, 3)


def kinds(runs: Sequence[Run]) -> str:
    """Of the lines before which all lines are right, the share that is right too, at the first and last evaluation.

    Easy and hard lines apart, mean over seeds.
    """
    rows = []
    for grid, mine in by_grid(runs).items():
        for (regime, method), seeds in by_cell(mine).items():
            curves = [run.points for run in seeds.values() if len(run.points) > 1]
            if not curves:
                continue
            shares = []
            for name in ("easy_step", "hard_step"):
                for place in (0, -1):
                    met = [share for curve in curves if (share := getattr(curve[place], name)) is not None]
                    shares.append(f"{statistics.fmean(met):.3f}" if met else "none")
            rows.append((grid, regime, method, len(curves), *shares))
    head = ("grid", "regime", "method", "seeds", "easy, at first", "at last", "hard, at first", "at last")
    return table(head, rows, 3)


def overhead(runs: Sequence[Run]) -> str:
    """Seconds of a training step by phase, and as a multiple of GRPO's in the same grid, regime, seed and machine."""
    rows = []
    for grid, mine in by_grid(runs).items():
        found = by_cell(mine)
        for (regime, method), seeds in found.items():
            if any(run.seconds_gen is None for run in seeds.values()):
                continue  # the seconds of its phases were not recorded
            whole = mean(seeds, step_seconds)
            phases = [mean(seeds, lambda run, phase=phase: phase_seconds(run, phase)) for phase in PHASES]
            parts = (f"{seconds:.2f}" for seconds in (whole, *phases, max(whole - sum(phases), 0.0)))
            rows.append((grid, regime, method, len(seeds), *parts, *_against(seeds, found.get((regime, "grpo"), {}))))
    head = ("grid", "regime", "method", "seeds", "seconds a step", *PHASES, "rest", "x GRPO [95 %]")
    return table((*head, "rows x GRPO [95 %]", "x GRPO at equal rows [95 %]"), rows, 3)


def step_seconds(run: Run) -> float:
    """Mean seconds of a training step."""
    return run.seconds / run.training_steps


def phase_seconds(run: Run, phase: str) -> float:
    """Mean seconds of a phase in a training step; 0 for a phase that a method does not have."""
    return (getattr(run, f"seconds_{phase}") or 0.0) / run.training_steps


def _against(seeds: Seeds, plain: Seeds) -> tuple[str, str, str]:
    return (
        ratio(multiple(seeds, plain, step_seconds, same_machine=True)),
        ratio(multiple(seeds, plain, lambda run: run.rows / run.training_steps)),
        ratio(multiple(seeds, plain, lambda run: run.seconds / run.rows, same_machine=True)),
    )
