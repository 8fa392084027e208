"""Two runs: what is paired, what is pointed out, what is refused."""

import json

import pytest

from tests.evaluation.conftest import write_sums
from verl_gpo.evaluation import __main__ as command
from verl_gpo.evaluation import compare


def test_a_run_against_itself(evaluate, tmp_path, capsys):
    assert evaluate() == 0
    assert command.main(["compare", str(tmp_path / "run"), str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "+0.0" in shown and "1.0000" in shown and "note" not in shown
    row = json.loads((tmp_path / "run" / "compare.json").read_text())["benchmarks"]["sums"]
    assert (row["difference"], row["p"], row["problems"]) == (0, 1, 6)
    assert (tmp_path / "run" / "compare.png").stat().st_size > 1000


def test_two_models_on_two_benchmarks(evaluate, tmp_path, model, sums, capsys):
    other = write_sums(tmp_path / "other.parquet", count=3)
    both = f"sums={sums},other={other}"
    assert evaluate(out="a", benchmarks=both) == 0
    (model / "model.safetensors").write_bytes(b"trained on")
    assert evaluate("--seed", 5, out="b", benchmarks=both, k=2) == 0
    results, notes = compare.compare(tmp_path / "a", tmp_path / "b")
    assert list(results) == ["sums", "other", "macro average"]
    assert results["macro average"].a == pytest.approx((results["sums"].a + results["other"].a) / 2)
    assert results["sums"].difference == pytest.approx(results["sums"].b - results["sums"].a)
    # The model is what is compared; all else is pointed out.
    assert notes == [
        "seed differs: 0 in A, 5 in B",
        "sums: k differs: 4 in A, 2 in B",
        "other: k differs: 4 in A, 2 in B",
    ]
    assert command.main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c")]) == 0
    assert "note: seed differs" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["compare.json", "compare.png"]


def test_only_problems_in_common_are_paired(evaluate, tmp_path, sums):
    assert evaluate(out="a") == 0
    assert evaluate("--limit", 4, out="b") == 0
    results, notes = compare.compare(tmp_path / "a", tmp_path / "b")
    assert results["sums"].problems == 4
    assert notes == ["sums: 4 problems in common, of 6 in A and 4 in B"]
    write_sums(sums, first=50)
    assert evaluate(out="c") == 0
    with pytest.raises(ValueError, match="no problem in common"):
        compare.compare(tmp_path / "a", tmp_path / "c")


def test_a_benchmark_of_one_run_is_pointed_out(evaluate, tmp_path, sums):
    other = write_sums(tmp_path / "other.parquet", count=3)
    assert evaluate(out="a") == 0
    assert evaluate(out="b", benchmarks=f"sums={sums},other={other}") == 0
    results, notes = compare.compare(tmp_path / "a", tmp_path / "b")
    assert list(results) == ["sums"] and notes == ["other is in one run only"]


def test_runs_that_are_none_or_not_finished_are_refused(evaluate, tmp_path, capsys):
    assert evaluate(fail_after=5) == 1
    capsys.readouterr()
    assert command.main(["compare", str(tmp_path / "run"), str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("verl_gpo: ") and "sums has 5 of 24 samples; call its evaluation again" in error
    assert command.main(["compare", str(tmp_path), str(tmp_path / "run")]) == 1
    assert "no run of python -m verl_gpo.evaluation" in capsys.readouterr().err
