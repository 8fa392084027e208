"""What the report's commands accept, and what is known of a trajectory."""

import pytest

from verl_gpo.report.command_line import parse, truth_function

TRUTH = "tests.report.arithmetic:truth"


def constant_truth(argument):
    return lambda row: {"true_critical": int(argument)}


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


def test_inspect_puts_its_traces_beside_the_page():
    _, arguments = parse(["inspect", "--model", "m", "--data", "d", "--out", "a/b.html", "search=adaptive", "n_mc=6"])
    assert str(arguments.traces) == "a/b_traces" and arguments.gpo == {"search": "adaptive", "n_mc": 6}


def test_a_truth_may_take_an_argument():
    assert truth_function(f"{__name__}:constant_truth=7")({}) == {"true_critical": 7}
    assert truth_function(TRUTH)({"prompt": "a+1 2", "steps": [{"text": "a+3"}], "rule": "argmax"})["true_values"]
