"""Two methods of a grid against each other, evaluation by evaluation.

    python scripts/evidence_pair.py skills/skills12 informative grpo:n=4

``docs/evidence.md`` compares runs at their ends; this says how they got there. Seeds that both have; accuracies are
means over them, differences are paired by seed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.evidence import RESULTS  # noqa: E402
from scripts.evidence_format import cells, p_value, points, ratio, table  # noqa: E402
from scripts.evidence_rows import Run, read_results  # noqa: E402
from scripts.evidence_statistics import geometric, paired_by_seed  # noqa: E402
from scripts.evidence_tables import tokens_to_reach  # noqa: E402


def pair(runs: Sequence[Run], place: str, ours: str, theirs: str) -> str:
    """A row for each training step after which both were evaluated, and the tokens to the opponent's final accuracy.

    Args:
        place: ``grid/regime``.

    Raises:
        ValueError: no such runs, or no seed that both methods have.
    """
    grid, _, regime = place.partition("/")
    found = {
        method: seeds for (_, method), seeds in cells([r for r in runs if (r.grid, r.regime) == (grid, regime)]).items()
    }
    for name in (ours, theirs):
        if name not in found:
            raise ValueError(f"{place}: {name}: must be one of {', '.join(found) or 'its methods, and it has no rows'}")
    seeds = sorted(set(found[ours]) & set(found[theirs]))
    if not seeds:
        raise ValueError(f"{place}: {ours} and {theirs} have no seed in common")
    both = [[{p.training_step: p for p in found[name][seed].points} for name in (ours, theirs)] for seed in seeds]
    rows = []
    for step in sorted(set.intersection(*(set(curve) for sides in both for curve in sides))):
        one, other = ([sides[side][step] for sides in both] for side in (0, 1))
        difference = paired_by_seed([a.accuracy - b.accuracy for a, b in zip(one, other, strict=True)])
        spent = geometric([a.tokens / b.tokens for a, b in zip(one, other, strict=True) if b.tokens])
        means = (f"{100 * statistics.fmean(p.accuracy for p in side):.1f}" for side in (one, other))
        rows.append((step, *means, points(difference), p_value(difference), f"{spent.mean:.2f}" if spent else ""))
    head = ("training step", f"{ours}, %", f"{theirs}, %", "points [95 %]", "p", "x tokens")
    text = f"{place}, seeds {', '.join(map(str, seeds))}\n\n{table(head, rows, 0)}"
    if there := tokens_to_reach(found[ours], found[theirs]):
        share = ratio(there.of_whole, there.bound)
        text += f"\n\n{there.reached} of {there.seeds} seeds of {ours} "
        text += f"reach what {theirs} ends at, on {share} of its tokens"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", metavar="GRID/REGIME")
    parser.add_argument("ours", metavar="METHOD")
    parser.add_argument("theirs", metavar="OPPONENT")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of runs.csv and evaluations.csv")
    args = parser.parse_args(argv)
    try:
        print(pair(read_results(args.results), args.place, args.ours, args.theirs))
    except (OSError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
