"""Two methods, evaluation by evaluation."""

import pytest

from scripts.experiments.__main__ import main
from scripts.experiments.pair import pair
from tests.experiments.samples import a_run, body, write

#: GRPO is at .2, .4, .5 and the other at .2, .5, .6 or .2, .7, .8, on half of the tokens.
RUNS = [
    *(a_run("grpo", seed, 0.5, curve=((0, 0.2), (1000, 0.4), (2000, 0.5))) for seed in (0, 1, 2)),
    a_run("gpo_fast", 0, 0.6, curve=((0, 0.2), (500, 0.5), (1000, 0.6))),
    a_run("gpo_fast", 1, 0.8, curve=((0, 0.2), (500, 0.7), (1000, 0.8))),
]


def test_by_hand():
    text = pair(RUNS, "protocol/late12", "gpo_fast", "grpo")
    assert text.startswith("protocol/late12, seeds 0, 1\n")
    rows = body("\n".join(line for line in text.splitlines() if line.startswith("|")))
    assert rows[0] == ["0", "20.0", "20.0", "+0.0 [+0.0, +0.0]", "1.000", ""]
    # Differences of .1 and .3: mean .2, deviation .1414, so 12.706 * .1 to either side; t = 2 on one degree of freedom.
    assert rows[1] == ["1", "60.0", "40.0", "+20.0 [-107.1, +147.1]", "0.295", "0.50"]
    assert rows[2] == ["2", "70.0", "50.0", "+20.0 [-107.1, +147.1]", "0.295", "0.50"]
    # .5 is there at 500 of 2,000 tokens, and at 300: geometric mean of .25 and .15.
    assert text.splitlines()[-1].startswith("2 of 2 seeds of gpo_fast reach the final accuracy of grpo, for 0.19 ")


def test_settings_behind_a_name_may_come_in_any_order():
    runs = [*RUNS, a_run("lean", learning_rate=2e-3, schedule="cosine")]
    one, other = (
        pair(runs, "protocol/late12", f"lean {settings}", "grpo").splitlines()[4:]
        for settings in ("learning_rate=0.002 schedule=cosine", "schedule=cosine learning_rate=0.002")
    )
    assert one[:3] == other[:3]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("protocol/late12", "gpo", "grpo"), "protocol/late12: gpo: must be one of 'grpo', 'gpo_fast'"),
        (("protocol/early12", "gpo_fast", "grpo"), "protocol/early12: must be one of protocol/late12"),
        (("protocol/late12", "gpo_fast", "random"), "gpo_fast and random have no seed in common"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(tmp_path, capsys, call, said):
    runs = RUNS if call[2] == "grpo" else [*RUNS, a_run("random", 7)]
    assert main(["compare", *call, "--results", str(write(tmp_path, runs))]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
