"""The files of results: what is read, what is refused, what is appended."""

from dataclasses import replace

import pytest

from scripts.experiments.grids import Grid, read_grid
from scripts.experiments.results import (
    ACCURACIES,
    EVALUATIONS,
    FOLDER,
    RUNS,
    append,
    check_start,
    compared_with,
    next_number,
    read_results,
)
from scripts.experiments.settings import Settings
from tests.experiments.samples import a_run, write


def test_rows_are_read_as_they_were_written(tmp_path):
    base = Settings()
    fast = a_run("gpo_fast", 1, hits=3.0, chosen=4.0, reentry_mixed=0.25, root_mixed=None, curve=(), explore_share=0.5)
    offline = a_run("random", curve=(), optimizer="kto", prompts=None, training_steps=None, pairs=7, cores=None)
    runs = [a_run(), fast, offline]
    assert read_results(write(tmp_path, runs), {}) == [replace(run, base=base) for run in runs]
    assert fast.name == "gpo_fast explore_share=0.5"
    assert (tmp_path / ACCURACIES).read_text().splitlines()[0] == f'{{"run": {runs[0].run}, "accuracies": [0.5]}}'


def test_a_run_is_named_by_what_differs_from_its_grid(tmp_path):
    grid = tmp_path / "protocol.yaml"
    grid.write_text(
        "{grid: protocol, training_steps: 2, evaluate_every: 1, seeds: [0], regimes: {late12: {}}, "
        "methods: {grpo: {prompts: 2}}}"
    )
    runs = [a_run(prompts=2, seed=0), a_run(prompts=4, seed=1)]
    found = read_results(write(tmp_path, runs), {"protocol": read_grid(grid)})
    assert [run.name for run in found] == ["grpo", "grpo prompts=4"]


def test_without_files_there_are_no_runs(tmp_path):
    assert read_results(tmp_path / "none", {}) == [] and next_number(tmp_path / "none") == 1


def test_evaluations_of_a_run_that_was_broken_off_are_nobodys(tmp_path):
    write(tmp_path, [a_run(run=1), a_run(run=2, seed=1)])
    lines = (tmp_path / RUNS).read_text().splitlines(keepends=True)
    (tmp_path / RUNS).write_text("".join(lines[:2]))
    assert [run.seed for run in read_results(tmp_path, {})] == [0]
    assert next_number(tmp_path) == 3  # not 2, whose evaluations are there
    append(tmp_path, a_run(run=3, seed=1), [])
    assert [len(run.points) for run in read_results(tmp_path, {})] == [2, 2]


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        (RUNS, ",cpu,", ",,", "line 2: device='': must be a text"),
        (RUNS, "late12,grpo,0,", "late12,grpo,zero,", "line 2: seed='zero': must be a whole number"),
        (RUNS, ",10,abcdef", ",10.5,abcdef", "line 2: training_steps='10.5': must be a whole number"),
        (RUNS, ",0.4,0.6", ",0.4,60", "line 2: high='60': must be a number"),
        (RUNS, ",0.4,0.6", ",nan,0.6", "line 2: low='nan': must be a number"),
        (RUNS, "seconds_gen", "seconds_sampling", "has no column seconds_gen"),
        (RUNS, "mini_batches", "minis", "has no column mini_batches"),
        (EVALUATIONS, ",1000,128,", ",0,128,", "tokens and seconds are of the whole run so far"),
        (EVALUATIONS, "1,1,1000", "1,0,1000", "has two rows of training step 0"),
    ],
)
def test_what_the_runner_does_not_write_is_refused(tmp_path, file, before, after, said):
    path = write(tmp_path, [a_run(run=1)]) / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ValueError, match=r"\.csv") as error:
        read_results(tmp_path, {})
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_run_cannot_be_there_twice(tmp_path):
    with pytest.raises(ValueError, match=r"protocol late12 grpo 0 \(run \d+\) has more than one row"):
        read_results(write(tmp_path, [a_run(curve=()), a_run(curve=())]), {})
    with pytest.raises(ValueError, match=r"\(run 1\) has more than one row"):
        read_results(write(tmp_path / "b", [a_run(run=1, curve=()), a_run(run=1, seed=1, curve=())]), {})


def test_settings_tell_runs_apart(tmp_path):
    runs = [a_run(curve=()), a_run(curve=(), mini_batches=2)]
    assert len(read_results(write(tmp_path, runs), {})) == 2


def test_a_grid_that_is_apart_has_models_of_its_own(tmp_path):
    grids = {name: Grid(name, {}, {}, [0], 1, 1, apart=name != "protocol") for name in ("protocol", "credit", "other")}
    other = {"curve": ((0, 0.3), (1000, 0.5)), "grid": "credit"}
    runs = [a_run("grpo"), a_run("grpo", **other), a_run("grpo", **{**other, "grid": "other"})]
    found = read_results(write(tmp_path / "a", runs), grids)
    assert [run.grid for run in compared_with("credit", found, grids)] == ["credit"]
    assert [run.grid for run in compared_with("protocol", found, grids)] == ["protocol"]
    runs.append(a_run("random", grid="credit"))  # starts at 0.2
    with pytest.raises(ValueError, match=r"late12 0: runs started from models of different accuracies.*\(0.2, 0.3\)"):
        read_results(write(tmp_path / "b", runs), grids)


def test_runs_of_a_regime_and_seed_start_from_one_model(tmp_path):
    one, other = a_run("grpo"), a_run("random", curve=((0, 0.3), (1000, 0.5)))
    with pytest.raises(ValueError, match=r"late12 0: runs started from models of different accuracies.*\(0.2, 0.3\)"):
        read_results(write(tmp_path / "a", [one, other]), {})
    apart = [one, a_run("random", seed=1, curve=((0, 0.3), (1000, 0.5))), a_run("random", regime="rare8", curve=())]
    assert len(read_results(write(tmp_path / "b", apart), {})) == 3
    check_start(tmp_path, apart, "late12", 0, 0.2)
    check_start(tmp_path, apart, "early12", 0, 0.9)  # the first of its kind
    with pytest.raises(ValueError, match=r"late12 0: .*\(0.2, and 0.25 of the model made here\): give another folder"):
        check_start(tmp_path, apart, "late12", 0, 0.25)


def test_the_committed_rows_are_of_the_committed_grids():
    from scripts.experiments.grids import known_grids

    grids = known_grids()
    cells = {cell.key for grid in grids.values() for cell in grid.cells()}
    runs = read_results(FOLDER, grids)
    assert len(runs) > 600 and {run.key for run in runs} <= cells
