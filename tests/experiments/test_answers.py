"""The tables of the page, one for each question, by hand."""

from dataclasses import replace

from scripts.experiments import answers
from scripts.experiments.settings import Settings
from tests.experiments.samples import PAIR, a_run, body

COSINE = {"schedule": "cosine"}


def test_the_summary_counts_regimes_that_differ_beyond_chance():
    sure = [a_run("random", seed, end) for seed, end in enumerate((0.6, 0.601, 0.602))]
    below = [replace(run, regime="rare8", accuracy=run.accuracy - 0.3) for run in sure]
    plain = [replace(run, regime="rare8") for run in PAIR[:3]]
    rows = body(answers.summary([*PAIR, *sure, *below, *plain]))
    # gpo_fast is 2 points above in one regime, p 0.074; random is 10.1 above in one and 19.9 below in the other.
    assert rows == [
        ["prompts and steps", "`gpo_fast`", "`grpo`", "1", "0", "0", "+2.0 to +2.0", "2.00 to 2.00"],
        ["prompts and steps", "`random`", "`grpo`", "2", "1", "1", "-19.9 to +10.1", "1.00 to 1.00"],
    ]


def test_differences_stand_with_their_cost():
    (row,) = body(answers.protocol(PAIR))
    assert row[:4] == ["protocol", "late12", "20.0", "50.0 [50.0, 50.0]"]
    assert row[4:] == ["", "", "+2.0 [-0.5, +4.5]<br>p 0.074, 3 seeds, 2.00 x tokens", ""]
    tokens = [replace(run, grid="tokens") for run in PAIR]
    assert body(answers.equal_tokens(tokens))[0][4:] == [row[6], "", "", ""]


def test_against_grpo_in_as_many_optimizer_steps():
    twice = [a_run("grpo", seed, 0.5, mini_batches=2, optimizer_steps=20.0) for seed in range(3)]
    (row,) = body(answers.same_optimizer_steps([*PAIR, *twice]))
    assert row[:6] == ["protocol", "late12", "gpo_fast", "3", "+2.0 [-0.5, +4.5]", "0.074"]
    assert row[6:] == ["0.50", "2.00", "+10.0 [+10.0, +10.0]", "none"]


def skills(method, end, moved, learning_rate=1e-3, **settings):
    """Weights have moved by as much at the end, and by a third of it after a third of the training."""
    curve = ((0, 0.2), (1000 * moved / 3, 0.3), (1000 * moved, end))
    at = {"grid": "skills", "regime": "skills12", "training_steps": 3, "base": Settings(learning_rate=1e-3)}
    run = a_run(method, 0, end, curve=curve, learning_rate=learning_rate, **settings, **at)
    last = replace(run.points[-1], training_step=3)
    return replace(run, points=(*run.points[:-1], last))


def test_at_one_rate_distance_stands_beside_the_gain():
    (row,) = body(
        answers.same_rate([skills("grpo", 0.6, 2.0), skills("lean", 0.9, 4.0), skills("random", 0.5, 2, 9.0)])
    )
    assert row[:4] == ["skills12", "`grpo`", "1", "+30.0 (no interval)"]
    # Distance 2 is a quarter of the way from 4/3 to 4: 0.3 + 0.6 / 4 = 0.45, less 0.6.
    assert row[5] == "2.00" and row[7] == "2.00 (no interval)" and row[8] == "-15.0 (no interval)"


def test_rates_have_the_mean_and_the_lowest_run():
    runs = [
        skills("lean", 0.9, 4.0),
        replace(skills("lean", 0.5, 4.0), seed=1),
        skills("grpo", 0.7, 2.0, 2e-3, **COSINE),
    ]
    first, second = body(answers.rates(runs))
    assert first == ["skills12", "0.001", "constant", "1", "", "", "", "70.0, 50.0 (2)"]
    assert second == ["skills12", "0.002", "cosine", "1", "70.0, 70.0 (1)", "", "", ""]


def test_each_at_its_rate_takes_those_of_the_table():
    runs = [
        skills("lean", 0.9, 4.0, 3e-3, **COSINE),
        skills("grpo", 0.7, 2.0, 4e-3, **COSINE),
        skills("grpo", 0.1, 2.0),
    ]
    (row,) = body(answers.each_at_its_rate(runs))
    assert row[:6] == ["skills12", "`grpo`", "0.003", "0.004", "1", "+20.0 (no interval)"]


def test_chosen_steps_and_their_groups():
    runs = [a_run("gpo_fast", seed, hits=hits, chosen=5.0, reentry_mixed=0.5) for seed, hits in enumerate((5.0, 4.0))]
    assert body(answers.found([a_run(), *runs])) == [["protocol", "late12", "", "", "0.90, 0.50"]]


def test_seconds_are_those_of_one_regime():
    runs = [replace(run, regime="spread8") for run in PAIR]
    rows = body(answers.seconds([*runs, *PAIR]))
    assert [row[:3] for row in rows] == [["`grpo`", "3", "10.00"], ["`gpo_fast`", "3", "5.00"]]
    assert rows[1][6:] == ["0.50 [0.50, 0.50]", "0.50 [0.50, 0.50]"]
