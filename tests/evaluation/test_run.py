"""A run's folder: its record, and the refusal of samples that do not belong to it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from verl_gpo.evaluation.run import check_record, check_samples, complete, read_record, write_record
from verl_gpo.evaluation.samples import Sample, file_of


def settings_of(out, drawn_with=None, name="sums", problems=("p0", "p1"), k=2):
    benchmark = SimpleNamespace(path=Path("sums.parquet"), problems=list(problems))
    return SimpleNamespace(
        model="m",
        out=out,
        drawn_with=drawn_with or {"seed": 1},
        hash="s",
        benchmarks={name: benchmark},
        sizes={name: (len(problems), k)},
    )


def sample(index, number=0, problem=None, settings="s", benchmark="sums"):
    problem = f"p{index}" if problem is None else problem
    return Sample(benchmark, index, number, "r", "1", 1.0, 1.0, 3, "stop", problem, settings)


def store(out, *samples):
    path = file_of(out, "sums")
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(each.to_line() for each in samples))


def test_a_record_is_written_and_keeps_earlier_benchmarks(tmp_path):
    assert read_record(tmp_path) is None
    write_record(settings_of(tmp_path))
    written = write_record(settings_of(tmp_path, name="other", problems=("q",), k=1))
    assert read_record(tmp_path) == written
    assert written["benchmarks"] == {
        "sums": {"problems": 2, "k": 2, "data": "sums.parquet"},
        "other": {"problems": 1, "k": 1, "data": "sums.parquet"},
    }
    assert written["settings"] == {"seed": 1} and written["versions"]["verl_gpo"]


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{ half")
    with pytest.raises(ValueError, match=r"run\.json: cannot be read"):
        read_record(tmp_path)


def test_samples_of_other_settings_are_refused(tmp_path):
    check_record(settings_of(tmp_path))
    store(tmp_path, sample(0))
    with pytest.raises(ValueError, match=r"has samples, but no run\.json with their settings"):
        check_record(settings_of(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"seed": 1}}))
    check_record(settings_of(tmp_path))
    with pytest.raises(ValueError, match=r"holds samples of other settings: seed \(1 there, 2 here\)"):
        check_record(settings_of(tmp_path, {"seed": 2}))


def test_samples_of_other_data_are_refused(tmp_path):
    settings = settings_of(tmp_path)
    check_samples(settings, [sample(0), sample(1), sample(7, problem="of a longer file")])
    with pytest.raises(ValueError, match="row 1 was drawn with other settings"):
        check_samples(settings, [sample(1, settings="other")])
    with pytest.raises(ValueError, match="holds samples of other data: sums, row 1, is another problem"):
        check_samples(settings, [sample(0), sample(1, problem="p0")])


def test_what_is_complete_and_what_is_lacking(tmp_path):
    record = {"benchmarks": {"sums": {"problems": 2, "k": 2}}}
    store(tmp_path, sample(0, 1), sample(1, 0), sample(0, 0))
    assert complete(tmp_path, record) == ({}, {"sums": "sums has 3 of 4 samples"})
    store(tmp_path, sample(0, 1), sample(1, 0), sample(0, 0), sample(1, 1), sample(1, 2), sample(2, 0))
    found, lacking = complete(tmp_path, record)
    assert lacking == {} and [sorted(each.sample for each in row) for row in found["sums"]] == [[0, 1], [0, 1]]
