"""Methods of a grid against each other, worked out by hand."""

from dataclasses import replace

import pytest

from scripts.experiments.measures import overhead, status
from scripts.experiments.rows import by_cell
from scripts.experiments.settings import Settings
from scripts.experiments.tables import at_equal, at_the_end, final, opposes, pairs_of, sensitivity, to_reach
from tests.experiments.samples import PAIR, a_run, body

NAMES = [
    a_run("grpo"),
    a_run("grpo", mini_batches=2),
    a_run("random"),
    a_run("gpo_fast"),
    a_run("ppo"),
    a_run("gpo_paper", optimizer="ppo"),
    a_run("random", optimizer="dapo"),
    a_run("dapo"),
]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (a_run("grpo"), []),
        (a_run("ppo"), []),
        (a_run("grpo", mini_batches=2), []),
        (a_run("gpo_paper", optimizer="ppo"), ["ppo"]),
        (a_run("random", optimizer="dapo"), ["dapo"]),
        (a_run("random"), ["grpo", "grpo mini_batches=2"]),
        (a_run("gpo_fast"), ["grpo", "grpo mini_batches=2", "random", "ppo"]),
        (a_run("gpo_fast", n_mc=8), ["grpo", "grpo mini_batches=2", "random", "ppo"]),
        (a_run("gpo_fast", learning_rate=1e-3), []),
    ],
)
def test_opponents(run, expected):
    assert [other.name for other in NAMES if opposes(other, run)] == expected


@pytest.mark.parametrize("alike", [{"learning_rate": 2e-3}, {"schedule": "cosine"}, {"clip_grad": 0.1}])
def test_opponents_have_the_same_optimizer(alike):
    assert opposes(a_run("grpo", **alike), a_run("lean", **alike))
    assert not opposes(a_run("grpo", **alike), a_run("lean"))


def test_methods_stand_in_one_order_with_variants_behind():
    runs = [a_run("oracle"), a_run("gpo_fast", n_mc=8), a_run("new"), a_run("gpo_fast"), a_run("grpo")]
    assert [name for _, name in by_cell(runs)] == ["grpo", "gpo_fast", "gpo_fast n_mc=8", "oracle", "new"]


def test_at_the_end_by_hand():
    # Mean 2 points, deviation 1: 4.303 / sqrt(3) = 2.5 to either side; p as in the statistics' test.
    assert body(at_the_end(PAIR)) == [
        ["late12", "gpo_fast", "grpo", "3", "+2.0 [-0.5, +4.5]", "0.074", "2.00", "1.00", "0.50"]
    ]


def test_at_equal_tokens_by_hand():
    (row,) = body(at_equal(PAIR))
    # At 1000 tokens: .6 against .5 in every seed, so there is an interval of no width and no p.
    assert row == ["late12", "gpo_fast", "grpo", *(["3", "1,000", "+10.0 [+10.0, +10.0]", "none"] * 2)]


def test_tokens_to_reach_by_hand():
    # .5 of the way from .2 to .6 is at 750, of 1000.
    assert body(to_reach(PAIR)) == [["late12", "gpo_fast", "grpo", "3 of 3", "0.75 [0.75, 0.75]", "0.75 [0.75, 0.75]"]]
    low = [replace(run, points=a_run(curve=((0, 0.2), (2000, 0.4))).points) for run in PAIR[3:]]
    assert body(to_reach([*PAIR[:3], *low])) == [["late12", "gpo_fast", "grpo", "0 of 3", "≥ 2.00", "≥ 2.00"]]


def test_final_says_of_what_an_interval_is():
    rows = body(final([*PAIR[3:], a_run("random", 7, 0.4, learning_rate=3e-4, base=Settings(learning_rate=3e-4))]))
    assert rows[0][:4] == ["late12", "random", "1", "40.0 [30.0, 50.0] (problems)"] and rows[0][6] == "0.0003"
    assert rows[1][:4] == ["late12", "gpo_fast", "3", "52.0 [49.5, 54.5]"]
    assert rows[1][4:] == ["10", "8", "0.0005", "2,000", "1,280", "10", "50"]


def test_an_incomplete_grid_still_gives_tables():
    runs = [PAIR[0], PAIR[4], a_run("random", 0, regime="spread6", curve=())]
    assert body(at_the_end(runs))[0][3:6] == ["0", "no shared seed", "none"]
    assert body(at_equal(runs))[0][3:] == ["0", "none", "none", "none"] * 2
    assert body(to_reach(runs))[0][3:] == ["none", "none", "none"]
    assert body(status(runs))[0][3:] == ["2", "3", "2", "3 of 12"]
    one = body(at_the_end([PAIR[0], PAIR[3]]))
    assert one[0][3:6] == ["1", "+1.0 (no interval)", "none"]


@pytest.mark.parametrize("other", [{"cores": 64}, {"device": "A 7B"}])
def test_seconds_of_different_machines_are_not_compared(other):
    runs = [replace(run, **other) if run.method == "gpo_fast" else run for run in PAIR]
    assert body(at_the_end(runs))[0][-3:] == ["2.00", "1.00", "none"]
    assert body(at_equal(runs))[0][7:] == ["0", "none", "none", "none"]
    assert body(overhead(runs))[1][-3:] == ["none", "1.00 [1.00, 1.00]", "none"]


def test_seconds_of_a_machine_that_was_not_written_down_are_not_compared():
    runs = [replace(run, device="unknown", cores=None) for run in PAIR]
    assert body(at_the_end(runs))[0][-3:] == ["2.00", "1.00", "none"]


def test_a_variant_is_compared_with_its_method_in_its_own_grid_or_in_tokens():
    tokens = [replace(run, grid="tokens") for run in PAIR]
    variant = [a_run("gpo_fast", seed, 0.6, grid="sensitivity", n_mc=8) for seed in (0, 1)]
    (row,) = body(sensitivity([*PAIR[:-1], a_run("gpo_fast", 0, 0.1), *variant, *tokens]))
    assert row[:3] == ["late12", "gpo_fast n_mc=8", "2"] and row[3].startswith("+8.5 [") and row[5] == "0.50"
    (own,) = body(sensitivity([*tokens, *variant, a_run("gpo_fast", 0, 0.7, grid="sensitivity")]))
    assert own[3].startswith("-1.0 [")  # seed 0: -10 in its own grid, which comes first; seed 1: +8 from the other
    other = [a_run("gpo_fast", seed, 0.6, grid="sensitivity", n_mc=8, base=Settings(prompts=4)) for seed in (0, 1)]
    assert body(sensitivity([*other, *tokens]))[0][2:4] == ["0", "no shared seed"]


def test_pairs_have_the_runs_of_both_by_seed():
    ((names, ours, theirs),) = pairs_of(PAIR)
    assert names == ("late12", "gpo_fast", "grpo") and set(ours) == set(theirs) == {0, 1, 2}
