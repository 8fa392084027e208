"""``python -m verl_gpo.report``: the page, a trajectory in the terminal, and errors before anything expensive."""

import io

import pytest
from rich.console import Console

from tests.conftest import REPOSITORY
from tests.report.arithmetic import records, truth
from verl_gpo.report.__main__ import main
from verl_gpo.report.command_line import parse, truth_function
from verl_gpo.report.show import find, print_trajectory, safe
from verl_gpo.traces.writer import TraceWriter

RUN = str(REPOSITORY / "recipes/arithmetic/results/gpo")
TRUTH = "tests.report.arithmetic:truth"


def constant_truth(argument):
    return lambda row: {"true_critical": int(argument)}


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    writer = TraceWriter(folder, "w")
    for record in records(6):
        writer.write(record)
    writer.close()
    return folder


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to report: give --traces, --runs, or both"),
        (["show", "--traces", "t", "--uid", "u", "--number", "1"], "not allowed with"),
        (["inspect", "--model", "m", "--data", "d", "--roots", "0"], "--roots 0: must be at least 1"),
        (["inspect", "--model", "m", "--data", "d", "search"], "'search': must be KEY=VALUE"),
    ],
)
def test_arguments_that_make_no_sense(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2 and says in capsys.readouterr().err


def test_inspect_refuses_settings_and_folders_before_the_engine(traces, tiny_run, capsys):
    where = ["inspect", "--model", str(tiny_run / "model"), "--data", str(tiny_run / "test.parquet")]
    assert main([*where, "n_mc=0"]) == 1
    assert "algorithm.gpo.n_mc=0: must be an integer of at least 1" in capsys.readouterr().err
    assert main([*where, "--traces", str(traces)]) == 1
    assert "holds traces already; choose another folder" in capsys.readouterr().err


def test_inspect_puts_its_traces_beside_the_page():
    _, arguments = parse(["inspect", "--model", "m", "--data", "d", "--out", "a/b.html", "search=adaptive", "n_mc=6"])
    assert str(arguments.traces) == "a/b_traces" and arguments.gpo == {"search": "adaptive", "n_mc": 6}


def test_a_truth_may_take_an_argument():
    assert truth_function(f"{__name__}:constant_truth=7")({}) == {"true_critical": 7}
    assert truth_function(TRUTH)({"prompt": "a+1 2", "steps": [{"text": "a+3"}], "rule": "argmax"})["true_values"]


def shown(row, continuations=False):
    printed = io.StringIO()
    print_trajectory(row, Console(file=printed, width=120), continuations)
    return printed.getvalue()


def test_a_trajectory_in_the_terminal(traces):
    row = next(row for row in find(traces, "uid-0") if row["critical"])
    text = shown({**row, **truth(row)}, continuations=True)
    for step in row["steps"]:
        assert step["text"].rstrip("\n") in text
    assert f"critical step {row['critical']['step']}, A" in text and f"reward {row['reward']:.2f}" in text
    (marked,) = [line for line in text.splitlines() if line.startswith(">")]
    assert marked.split()[1] == str(row["critical"]["step"])
    assert "reset here" in text and " true " in text and "(true: " in text
    learnt = sum(c["learnt"] for state in row["states"] for c in state["continuations"])
    assert sum("00 * " in line for line in text.splitlines()) == learnt == 4
    assert "00 * " not in shown(row)


def test_steps_are_coloured_where_there_is_colour(traces):
    (row,) = find(traces)
    printed = io.StringIO()
    print_trajectory(row, Console(file=printed, width=120, force_terminal=True, color_system="256"))
    assert "\x1b[" in printed.getvalue()


def test_a_text_cannot_command_the_terminal(traces):
    (row,) = find(traces)
    evil = "\x1b]0;title\x07\x1b[31m\x9b1mred[bold]\r\ud800"
    steps = [{**row["steps"][0], "text": evil}, *row["steps"][1:]]
    text = shown({**row, "steps": steps, "prompt": evil, "uid": evil, "data_source": evil})
    assert not set("\x1b\x07\x9b\r\ud800") & set(text) and "red[bold]" in text
    assert safe("a\tb\nc ü") == "a\tb\nc ü"


def test_which_trajectory(traces, capsys):
    assert find(traces, number=0)[0]["uid"] == "uid-0" and find(traces, number=-1) == find(traces)
    assert find(traces, "uid-3")[0]["sample_index"] == 3
    assert main(["show", "--traces", str(traces), "--number", "9"]) == 1
    assert "no trajectory 9" in capsys.readouterr().err
    assert main(["show", "--traces", str(traces), "--uid", "x"]) == 1
    assert "no trajectory with uid 'x'" in capsys.readouterr().err
    assert main(["show", "--traces", str(traces), "--uid", "uid-2", "--truth", TRUTH]) == 0
    assert "uid uid-2" in capsys.readouterr().out
