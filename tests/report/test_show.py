"""One trajectory in the terminal."""

import io

from rich.console import Console

from tests.report.arithmetic import truth
from verl_gpo.report.__main__ import main
from verl_gpo.report.show import find, print_trajectory, safe

TRUTH = "tests.report.arithmetic:truth"


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
