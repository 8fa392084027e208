"""``python -m verl_gpo.report``: the page, a trajectory in the terminal, and errors before anything expensive."""

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.report.__main__ import main

RUN = str(REPOSITORY / "recipes/arithmetic/results/gpo")
TRUTH = "tests.report.arithmetic:truth"


def test_the_page_is_written_where_it_was_wanted(traces, tmp_path, capsys):
    out = tmp_path / "deep" / "r.html"
    arguments = ["--traces", str(traces), "--runs", f"GPO={RUN}", "--out", str(out), "--limit", "4", "--truth", TRUTH]
    assert main(arguments) == 0
    assert "4 of 6 traces, 1 runs" in capsys.readouterr().out
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_traces_alone_and_runs_alone_are_enough(traces, tmp_path):
    for number, arguments in enumerate((["--traces", str(traces)], ["--runs", RUN])):
        assert main([*arguments, "--out", str(tmp_path / f"{number}.html")]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--traces", "missing"], "missing: no traces"),
        (["--runs", "missing"], "missing: no such file or folder"),
        (["--runs", RUN, "--truth", "nowhere:f"], "--truth nowhere:f: must be MODULE:FUNCTION"),
        (["--runs", RUN, "--truth", "json:nothing"], "--truth json:nothing: must be MODULE:FUNCTION"),
        (["show", "--traces", "missing"], "missing: no traces"),
        (["inspect", "--model", "m", "--data", "missing.parquet"], "data='missing.parquet': not a readable parquet"),
    ],
)
def test_errors_are_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and says in printed.err and printed.err.count("\n") == 1
    assert not printed.out and not list(tmp_path.iterdir())


def test_inspect_refuses_settings_and_folders_before_the_engine(traces, tiny_run, capsys):
    where = ["inspect", "--model", str(tiny_run / "model"), "--data", str(tiny_run / "test.parquet")]
    assert main([*where, "n_mc=0"]) == 1
    assert "algorithm.gpo.n_mc=0: must be an integer of at least 1" in capsys.readouterr().err
    assert main([*where, "--traces", str(traces)]) == 1
    assert "holds traces already; choose another folder" in capsys.readouterr().err
