"""Tables of Markdown and what their cells show, and the differences of two methods over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from scripts.experiments.rows import Run, Seeds
from verl_gpo.statistics import Estimate, SeedPairs, geometric, paired_by_seed


def table(head: Sequence[str], rows: Sequence[Sequence[object]], words: int) -> str:
    """A Markdown table. The first ``words`` columns are text and aligned left, the others are aligned right."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * words + "---:|" * (len(head) - words), *lines[1:]])


def titled(parts: Mapping[str, str]) -> str:
    """Texts, each below its title in bold."""
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts.items())


def shared(ours: Seeds, theirs: Seeds, same_machine: bool = False) -> list[tuple[Run, Run]]:
    """The runs of the seeds that both methods have, in pairs.

    Args:
        ours, theirs: the runs of two methods by seed.
        same_machine: only pairs that ran on the same kind of machine, since seconds are not comparable otherwise.
    """
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]
    return [(a, b) for a, b in pairs if a.same_machine(b) or not same_machine]


def final_difference(ours: Seeds, theirs: Seeds) -> SeedPairs | None:
    """The final accuracy of one method minus that of the other, paired by seed; None without a shared seed."""
    return paired_by_seed([a.accuracy - b.accuracy for a, b in shared(ours, theirs)])


def multiple(ours: Seeds, theirs: Seeds, value: Callable[[Run], float], same_machine: bool = False) -> Estimate | None:
    """The ratio of a value of both methods, as the geometric mean over shared seeds; None without a shared seed.

    Args:
        value: of a run; pairs in which one of the two is not above 0 are left out.
        same_machine: see :func:`shared`.
    """
    pairs = [(value(a), value(b)) for a, b in shared(ours, theirs, same_machine)]
    return geometric([a / b for a, b in pairs if a > 0 and b > 0])


def mean(runs: Seeds, value: Callable[[Run], float]) -> float:
    """The mean of a value over seeds."""
    return statistics.fmean(map(value, runs.values()))


def interval(found: Estimate, scale: float = 1, form: str = ".2f") -> str:
    """The interval of an estimate, or ``(no interval)``.

    Args:
        scale: factor, 100 for percent.
        form: format of the numbers.
    """
    if found.low is None or found.high is None:
        return "(no interval)"
    return f"[{scale * found.low:{form}}, {scale * found.high:{form}}]"


def points(pairs: SeedPairs | None) -> str:
    """A difference of accuracies in percentage points, with its interval."""
    if pairs is None:
        return "no shared seed"
    return f"{100 * pairs.difference.mean:+.1f} {interval(pairs.difference, 100, '+.1f')}"


def p_value(pairs: SeedPairs | None) -> str:
    """A p-value, or ``none``."""
    if pairs is None or pairs.p is None:
        return "none"
    return "<0.001" if pairs.p < 0.001 else f"{pairs.p:.3f}"


def ratio(found: Estimate | None, bound: bool = False) -> str:
    """A ratio with its interval; with ``bound`` it is a lower bound, ``≥ 0.75``."""
    if found is None:
        return "none"
    return f"≥ {found.mean:.2f}" if bound else f"{found.mean:.2f} {interval(found)}"


def times(found: Estimate | None) -> str:
    """A multiple without its interval, or ``none``."""
    return "none" if found is None else f"{found.mean:.2f}"


def listed(values: Sequence[object]) -> str:
    """The different values, in order, separated by commas."""
    return ", ".join(map(str, dict.fromkeys(values)))
