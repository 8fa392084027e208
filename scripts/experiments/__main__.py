"""``python -m scripts.experiments``: train the cells of a grid, and show the results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.experiments import distance, measures, tables
from scripts.experiments.figures import accuracy_over_tokens
from scripts.experiments.grids import FOLDER as GRIDS
from scripts.experiments.grids import known_grids, read_grid
from scripts.experiments.markers import check, write
from scripts.experiments.optimizers import optimizers
from scripts.experiments.page import figures, pages
from scripts.experiments.pair import pair
from scripts.experiments.pipeline import REPOSITORY, TrainingFailed
from scripts.experiments.results import FOLDER as RESULTS
from scripts.experiments.results import read_results
from scripts.experiments.rows import Run
from scripts.experiments.runner import run_grid, select


def run(args: argparse.Namespace) -> int:
    """Train the cells of a grid that have no row yet."""
    grid = read_grid(args.grid)
    selection = select(grid, args.regimes, args.methods, args.seeds)
    return run_grid(grid, selection, args.results, args.work.resolve(), args.list)


def page(args: argparse.Namespace) -> int:
    """Write the tables and figures of the results into the pages."""
    runs = _runs(args)
    made = pages(runs, args.root)
    if args.check:
        return check(made, "python -m scripts.experiments page")
    old = write(made)
    drawn = figures(runs, args.root / "docs" / "evidence")
    print(f"{len(runs)} runs; pages changed: {', '.join(map(str, old)) or 'none'}; figures: {', '.join(drawn)}")
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare two methods of a grid, evaluation by evaluation."""
    print(pair(_runs(args), args.place, args.ours, args.theirs))
    return 0


def show(args: argparse.Namespace) -> int:
    """Print all tables of a grid."""
    runs = _runs(args)
    known = list(dict.fromkeys(run.grid for run in runs))
    if args.grid not in known:
        raise ValueError(f"{args.grid}: must be one of {', '.join(known) or 'the grids with rows, and there are none'}")
    mine = [one for one in runs if one.grid == args.grid]
    parts = {
        "What was run": measures.status(mine),
        "Groups with both outcomes": measures.groups(mine),
        "Chosen steps that are hard in truth": measures.hits(mine),
        "Right lines by kind": measures.kinds(mine),
        "Seconds of a training step": measures.overhead(mine),
        "How far the weights move": distance.distances(mine),
    }
    if args.grid == "sensitivity":
        parts["Variants"] = tables.sensitivity(runs)
    if args.grid == "optimizers":
        parts["Optimizers"] = optimizers(mine)
    print("\n\n".join([tables.comparison(mine), *(f"## {title}\n\n{text}" for title, text in parts.items())]))
    if args.figure and not accuracy_over_tokens(mine, args.figure):
        raise ValueError(f"--figure={args.figure}: the grid {args.grid} has no run with two evaluations")
    return 0


def _runs(args: argparse.Namespace) -> list[Run]:
    return read_results(args.results, known_grids(GRIDS))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="python -m scripts.experiments", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="COMMAND")

    def command(function, name: str | None = None) -> argparse.ArgumentParser:
        one = commands.add_parser(name or function.__name__, help=function.__doc__, description=function.__doc__)
        one.set_defaults(function=function)
        one.add_argument("--results", type=Path, default=RESULTS, help="folder of runs.csv and evaluations.csv")
        return one

    one = command(run)
    one.add_argument("grid", type=Path, help="YAML file")
    one.add_argument("--work", type=Path, default=Path("outputs/experiment"), help="folder of models and logs")
    one.add_argument("--regimes", help="comma-separated, of the grid's regimes; all if not given")
    one.add_argument("--methods", help="comma-separated, of the grid's methods, named as in tables; all if not given")
    one.add_argument("--seeds", help="comma-separated, of the grid's seeds; all if not given")
    one.add_argument("--list", action="store_true", help="only list the runs that are missing")

    one = command(page)
    one.add_argument(
        "--check", action="store_true", help="write nothing; the exit status is 1 if a page is not up to date"
    )
    one.add_argument("--root", type=Path, default=REPOSITORY, help=argparse.SUPPRESS)

    one = command(compare)
    one.add_argument("place", metavar="GRID/REGIME")
    one.add_argument(
        "ours", metavar="METHOD", help="named as in tables: lean, or 'lean learning_rate=0.003 schedule=cosine'"
    )
    one.add_argument("theirs", metavar="OPPONENT")

    one = command(show, "tables")
    one.add_argument("grid", metavar="GRID")
    one.add_argument("--figure", type=Path, help="also draw accuracy over generated tokens into this PNG file")
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. A mistake of the user ends with one line and the exit status 1."""
    args = parser().parse_args(argv)
    try:
        return args.function(args)
    except (OSError, ValueError, TrainingFailed) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
