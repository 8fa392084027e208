"""Runs beside each other: grouping, files, and costs over training."""

import json

import pytest

from verl_gpo.report.runs import RunGroup, cumulative, metrics_file, over_seeds, read_runs
from verl_gpo.traces.runlog import RunLog


def write(folder, steps, name="metrics.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in steps.items()]
    (folder / name).write_text("".join(lines))
    return folder


def test_runs_of_one_name_are_seeds_of_one_method(tmp_path):
    for name in ("a1", "a2", "b"):
        write(tmp_path / name, {1: {"timing_s/step": 1.0}})
    groups = read_runs([f"GPO={tmp_path}/a1", str(tmp_path / "b"), f"GPO={tmp_path}/a2"])
    assert [(group.name, len(group.logs)) for group in groups] == [("GPO", 2), ("b", 1)]


def test_a_folder_whose_name_holds_a_sign_is_a_folder(tmp_path):
    folder = write(tmp_path / "lr=3", {1: {}})
    assert [group.name for group in read_runs([str(folder)])] == ["lr=3"]


def test_which_file_of_a_folder(tmp_path):
    folder = write(tmp_path / "run", {1: {}}, "verl.jsonl")
    assert metrics_file(folder).name == "verl.jsonl"
    write(folder, {1: {}}, "other.jsonl")
    with pytest.raises(FileNotFoundError, match="holds 2 files"):
        metrics_file(folder)
    write(folder, {1: {}})
    assert metrics_file(folder).name == "metrics.jsonl"
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        metrics_file(tmp_path / "missing")


def test_an_empty_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no complete training step"):
        read_runs([str(write(tmp_path / "run", {}))])


def test_costs_add_up_over_training():
    log = RunLog({0: {}, 1: {"gpo/tokens/root": 5, "timing_s/step": 2.0}, 2: {"gpo/tokens/value": 7}})
    assert cumulative(log, "tokens") == {0: 0, 1: 5, 2: 12} and cumulative(log, "seconds") == {0: 0, 1: 2, 2: 2}


def test_a_step_that_one_seed_lacks_is_left_out():
    group = RunGroup("g", (RunLog({1: {"x": 1}, 2: {"x": 5}}), RunLog({1: {"x": 3}})))
    assert {step: e.mean for step, e in over_seeds(group, lambda log: log.series("x")).items()} == {1: 2.0}
