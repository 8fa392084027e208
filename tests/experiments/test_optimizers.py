"""The optimizers side by side, by hand."""

from scripts.experiments.optimizers import optimizers
from tests.experiments.samples import a_run, body


def test_the_table_by_hand():
    runs = [a_run("kto", seed, 0.625, curve=(), tokens=1000.0, seconds=3.5, rows=64.0) for seed in (0, 1)]
    runs += [a_run("gpo_paper", seed, 0.875, curve=(), optimizer="kto") for seed in (0, 1)]
    runs += [a_run("dapo", 0, 0.5, curve=())]
    rows = body(optimizers(runs))
    assert [row[:3] for row in rows] == [["dapo", "dapo", "1"], ["kto", "kto", "2"], ["kto", "gpo_paper", "2"]]
    # Both seeds end at the same accuracy: no spread, and a difference of which no test can be made.
    assert rows[1][3:] == ["62.5 [62.5, 62.5]", "1,000", "64", "10", "4", "", ""]
    assert rows[2][8:] == ["+25.0 [+25.0, +25.0]", "none"]


def test_differences_are_of_the_seeds_that_both_have():
    runs = [a_run("dpo", seed, 0.1, curve=()) for seed in (0, 1)]
    runs += [a_run("random", seed, end, curve=(), optimizer="dpo") for seed, end in enumerate((0.2, 0.4, 1.0))]
    # 0.1 and 0.3: mean 0.2, standard error 0.1, t of one degree of freedom 12.706; p = 1 - 2 atan(2) / pi.
    assert body(optimizers(runs))[1][8:] == ["+20.0 [-107.1, +147.1]", "0.295"]
