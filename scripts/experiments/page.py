"""Tables and figures of the experiments, from the raw rows of ``experiment.py``, into the pages that show them.

    python scripts/evidence.py            # writes docs/evidence.md, docs/evidence/*.png and the README's table
    python scripts/evidence.py --check    # writes nothing; status 1 if a page is not what the rows say

A page says where a table stands: what is between ``<!-- evidence NAME -->`` and ``<!-- /evidence -->`` is replaced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from scripts.evidence_distance import accuracy_over_distance, distances  # noqa: E402
from scripts.evidence_figures import accuracy_over_tokens  # noqa: E402
from scripts.evidence_measures import groups, hits, kinds, overhead, status  # noqa: E402
from scripts.evidence_rows import GRIDS, Run, read_results  # noqa: E402
from scripts.evidence_tables import comparison, final, sensitivity, summary  # noqa: E402
from scripts.pages import check, fill, write  # noqa: E402

Section = Callable[[Sequence[Run]], str]
RESULTS = REPOSITORY / "scripts" / "results" / "evidence"
PAGE = REPOSITORY / "docs" / "evidence.md"
README = REPOSITORY / "README.md"
#: Grids with a figure of their own, ``docs/evidence/GRID.png``.
FIGURES = ("protocol", "protocol24", "tokens", "few", "skills")


def grid_section(grid: str) -> Section:
    """The figure of a grid, and its tables."""

    def section(runs: Sequence[Run]) -> str:
        drawn = any(run.grid == grid and len(run.points) > 1 for run in runs)
        figure = f"![accuracy over generated tokens, grid {grid}](evidence/{grid}.png)\n\n" if drawn else ""
        return figure + comparison(runs, grid)

    return section


def other_grids(runs: Sequence[Run]) -> str:
    """Grids without a section, at their end: no row that was measured is left out of the page."""
    names = dict.fromkeys(run.grid for run in runs if run.grid not in GRIDS)
    parts = [f"**{name}**\n\n{final([run for run in runs if run.grid == name])}" for name in names]
    return "\n\n".join(parts) or "No rows of other grids."


SECTIONS: dict[str, Section] = {
    "status": status,
    **{grid: grid_section(grid) for grid in FIGURES},
    "distance": distances,
    "sensitivity": sensitivity,
    "groups": groups,
    "hits": hits,
    "kinds": kinds,
    "overhead": overhead,
    "others": other_grids,
}
README_SECTIONS: dict[str, Section] = {"summary": summary}


def pages(runs: Sequence[Run], page: Path, readme: Path) -> dict[Path, str]:
    """Each page as the rows have it; the README only if it has the marker.

    Raises:
        ValueError: a page without the markers.
        OSError: a page that cannot be read.
    """
    found = {}
    for path, sections in ((page, SECTIONS), (readme, README_SECTIONS)):
        text = path.read_text(encoding="utf-8")
        if path == readme and "<!-- evidence" not in text:
            continue
        try:
            found[path] = fill(text, "evidence", {name: section(runs) for name, section in sections.items()})
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of runs.csv and evaluations.csv")
    parser.add_argument("--page", type=Path, default=PAGE, help="page of tables; figures go beside it")
    parser.add_argument("--readme", type=Path, default=README, help="page of the summary")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not up to date")
    args = parser.parse_args(argv)
    try:
        runs = read_results(args.results)
        made = pages(runs, args.page, args.readme)
    except (OSError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    if args.check:
        return check(made, "python scripts/evidence.py")
    old = write(made)
    drawn = [
        grid for grid in FIGURES if accuracy_over_tokens([run for run in runs if run.grid == grid], _png(args, grid))
    ]
    drawn += ["distance"] if accuracy_over_distance(runs, _png(args, "distance")) else []
    print(
        f"{len(runs)} runs; pages changed: {', '.join(map(str, old)) or 'none'}; figures: {', '.join(drawn) or 'none'}"
    )
    return 0


def _png(args: argparse.Namespace, grid: str) -> Path:
    return args.page.with_suffix("") / f"{grid}.png"


if __name__ == "__main__":
    sys.exit(main())
