"""Cells and tables of Markdown that pages and the terminal show, and differences of two methods over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from scripts.experiments.rows import Run, Seeds
from verl_gpo.statistics import Estimate, SeedPairs, geometric, paired_by_seed


def table(head: Sequence[str], rows: Sequence[Sequence[object]], words: int) -> str:
    """A Markdown table whose first ``words`` columns are text, the others numbers."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * words + "---:|" * (len(head) - words), *lines[1:]])


def shared(ours: Seeds, theirs: Seeds, same_machine: bool = False) -> list[tuple[Run, Run]]:
    """Runs of the seeds that both have; seconds are comparable on the same machine only."""
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]
    return [(a, b) for a, b in pairs if a.same_machine(b) or not same_machine]


def final_difference(ours: Seeds, theirs: Seeds) -> SeedPairs | None:
    """Final accuracy of one method less the other's."""
    return paired_by_seed([a.accuracy - b.accuracy for a, b in shared(ours, theirs)])


def multiple(ours: Seeds, theirs: Seeds, value: Callable[[Run], float], same_machine: bool = False) -> Estimate | None:
    """Geometric mean over shared seeds of one method's value over the other's."""
    pairs = [(value(a), value(b)) for a, b in shared(ours, theirs, same_machine)]
    return geometric([a / b for a, b in pairs if a > 0 and b > 0])


def mean(runs: Seeds, value: Callable[[Run], float]) -> float:
    """Over seeds."""
    return statistics.fmean(map(value, runs.values()))


def interval(found: Estimate, scale: float = 1, form: str = ".2f") -> str:
    """The interval of an estimate, or that it has none."""
    if found.low is None or found.high is None:
        return "(no interval)"
    return f"[{scale * found.low:{form}}, {scale * found.high:{form}}]"


def points(pairs: SeedPairs | None) -> str:
    """A difference of accuracies in percent points."""
    if pairs is None:
        return "no shared seed"
    return f"{100 * pairs.difference.mean:+.1f} {interval(pairs.difference, 100, '+.1f')}"


def p_value(pairs: SeedPairs | None) -> str:
    """A p-value, or that there is none."""
    if pairs is None or pairs.p is None:
        return "none"
    return "<0.001" if pairs.p < 0.001 else f"{pairs.p:.3f}"


def ratio(found: Estimate | None, bound: bool = False) -> str:
    """A ratio with its interval, or as the lower bound that it is."""
    if found is None:
        return "none"
    return f"≥ {found.mean:.2f}" if bound else f"{found.mean:.2f} {interval(found)}"


def listed(values: Sequence[object]) -> str:
    """Different values, in order."""
    return ", ".join(map(str, dict.fromkeys(values)))
