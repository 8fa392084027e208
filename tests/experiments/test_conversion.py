"""The rows had another shape once. Every figure of the tables of that time comes out of today's rows and code as well.

``old_figures.json`` was written by the old code from the old rows, at commit 01d3be4. Quantiles of Student's t had
three decimals then and are exact now, so an end of an interval may differ in its last digit. Nothing else may.
"""

import json
import re
from pathlib import Path

import pytest

from scripts.experiments.cells import final_difference, mean, multiple, p_value, points, ratio
from scripts.experiments.distance import distances
from scripts.experiments.grids import known_grids
from scripts.experiments.measures import by_grid, groups, hits, kinds, overhead, status
from scripts.experiments.optimizers import optimizers
from scripts.experiments.results import FOLDER, read_results
from scripts.experiments.rows import by_cell
from scripts.experiments.settings import label
from scripts.experiments.tables import at_equal, at_the_end, final, sensitivity, to_reach, tokens_to_reach
from tests.experiments.old_names import renamed

OLD = json.loads(Path(__file__).with_name("old_figures.json").read_text(encoding="utf-8"))
GRIDS = known_grids()
#: Runs that were there then: they are numbered as they come.
LAST = 602
RUNS = [run for run in read_results(FOLDER, GRIDS) if run.run <= LAST]
OF_GRID = by_grid(RUNS)
INTERVAL = re.compile(r"\[([^]]*)\]")
#: Optimizers side by side stood on a page of their own then.
THEN = [run for run in RUNS if run.grid != "optimizers"]
#: Columns of the README's table of that time.
README = ("grpo mini_batches=2", "gpo_paper", "gpo_fast", "lean", "random", "oracle")
FIRST = {"final": 2, "at_the_end": 3, "at_equal": 3, "to_reach": 3}


def lines(text):
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines()[2:]]


def assert_alike(new, old):
    """The same keys and figures, but for the last digit of the ends of intervals."""
    assert set(new) == set(old)
    for key, figures in old.items():
        for now, then in zip(new[key], figures, strict=True):
            if now != then:
                assert INTERVAL.sub("", now) == INTERVAL.sub("", then), key
                for a, b in zip(ends(now), ends(then), strict=True):  # of all intervals of the cell
                    digit = 10.0 ** -len(b.partition(".")[2])
                    assert abs(float(a) - float(b)) < 1.5 * digit, (key, now, then)


def ends(cell):
    return [end for found in INTERVAL.findall(cell) for end in found.split(", ")]


def name(grid, regime, method):
    chosen, settings = renamed(GRIDS[grid], regime, method)
    return label(chosen, settings, GRIDS[grid].base(chosen, regime, settings.optimizer))


def as_today(table, row):
    """Key and figures of a row of an old table, with today's names."""
    grid, regime, *rest = row
    if table in FIRST:
        names = 1 if table == "final" else 2
        return (grid, regime, *(name(grid, regime, method) for method in rest[:names])), rest[names:]
    return (grid, regime, name(grid, regime, rest[0])), rest[1:]


@pytest.mark.parametrize(
    "table", ["final", "at_the_end", "at_equal", "to_reach", "groups", "hits", "kinds", "overhead"]
)
def test_every_figure_is_as_it_was(table):
    old = dict(as_today(table, row) for row in OLD[table]["rows"])
    assert len(old) == len(OLD[table]["rows"]) > 90
    if table in FIRST:
        make = {"final": final, "at_the_end": at_the_end, "at_equal": at_equal, "to_reach": to_reach}[table]
        rows = [[grid, *row] for grid in {key[0] for key in old} for row in lines(make(OF_GRID[grid]))]
        words = FIRST[table] + 1
    else:
        make = {"groups": groups, "hits": hits, "kinds": kinds, "overhead": overhead}[table]
        rows, words = lines(make(THEN)), 3
    new = {tuple(row[:words]): row[words:] for row in rows}
    if table == "overhead":  # grids at equal tokens had no method named grpo, so their last columns compared nothing
        for key, figures in old.items():
            if figures[-3:] == ["none"] * 3 and key[0] in ("tokens", "few", "skills", "tokens_adam", "rates_adam"):
                figures[-3:] = new[key][-3:]
    assert_alike(new, old)


def test_every_distance_is_as_it_was():
    old = {
        (regime, name("skills", regime, ours), name("skills", regime, theirs)): rest
        for regime, ours, theirs, *rest in OLD["distance"]["rows"]
    }
    assert len(old) == 43
    assert_alike({tuple(row[:3]): row[3:] for row in lines(distances(OF_GRID["skills"]))}, old)


def test_every_variant_is_as_it_was():
    old = {
        (regime, name("sensitivity", regime, f"{method}:{varied}")): rest
        for regime, method, varied, *rest in OLD["sensitivity"]["rows"]
    }
    assert len(old) == 3
    assert_alike({tuple(row[:2]): row[2:] for row in lines(sensitivity(RUNS))}, old)


def test_every_optimizer_is_as_it_was():
    methods = {"random": "random", "gpo": "gpo_paper"}
    old = {(row[0], methods.get(row[1], row[0])): row[2:] for row in OLD["optimizers"]["rows"]}
    assert len(old) == 36
    assert_alike({tuple(row[:2]): row[2:] for row in lines(optimizers(OF_GRID["optimizers"]))}, old)


def test_every_figure_of_the_readme_is_as_it_was():
    new, old = {}, {}
    for grid, regime, plain, *against in OLD["summary"]["rows"]:
        cells = {name: seeds for (place, name), seeds in by_cell(OF_GRID[grid]).items() if place == regime}
        reached = f"{100 * mean(cells['grpo'], lambda run: run.accuracy):.1f}, {len(cells['grpo'])} seeds"
        old[grid, regime, "grpo"], new[grid, regime, "grpo"] = [plain], [reached]
        for method, then in zip(README, against, strict=True):
            old[grid, regime, method] = [then]
            new[grid, regime, method] = [headline(cells[method], cells["grpo"]) if method in cells else ""]
    assert_alike(new, old)
    assert sum(then != [""] for then in old.values()) > 60


def headline(ours, theirs):
    """A cell as the README had it."""
    pairs, there = final_difference(ours, theirs), tokens_to_reach(ours, theirs)
    cost = multiple(ours, theirs, lambda run: run.tokens)
    said = [points(pairs), f"p {p_value(pairs)}, {pairs.seeds} seeds", f"{cost.mean:.2f} x tokens"]
    return "<br>".join([*said, f"there at {ratio(there.of_whole, there.bound)}"])


def test_as_much_was_run_as_then():
    """Where GRPO has one name instead of two, there are fewer methods, and so fewer cells without a run."""
    old = {row[0]: (*row[1:4], *row[5:6], row[6].split(" of ")[0]) for row in OLD["status"]["rows"]}
    new = {row[0]: (*row[1:4], *row[5:6], row[6].split(" of ")[0]) for row in lines(status(THEN))}
    assert new == old


def test_problems_of_the_optimizers_say_what_their_rows_say():
    lines_kept = map(json.loads, (FOLDER / "accuracies.jsonl").open())
    kept = {one["run"]: one["accuracies"] for one in lines_kept if one["run"] <= LAST}
    runs = {run.run: run for run in OF_GRID["optimizers"]}
    assert set(kept) == set(runs) and len(kept) == 108
    for number, accuracies in kept.items():
        assert len(accuracies) == 256 and sum(accuracies) / 256 == pytest.approx(runs[number].accuracy)
