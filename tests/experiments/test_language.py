"""The tables of the grid of a pretrained language model."""

from scripts.experiments.language import language, short
from scripts.experiments.settings import Settings
from tests.experiments.samples import a_run

WHERE = {"grid": "language", "regime": "legs"}


def runs():
    return [
        a_run("grpo", accuracy=0.3, curve=((0, 0.2), (800, 0.25), (1000, 0.3)), **WHERE),
        a_run("grpo", seed=1, accuracy=0.4, curve=((0, 0.2), (800, 0.35), (1000, 0.4)), **WHERE),
        a_run("lean", accuracy=0.25, curve=((0, 0.2), (400, 0.2), (500, 0.25)), **WHERE),
        a_run("lean", seed=1, accuracy=0.45, curve=((0, 0.2), (400, 0.3), (500, 0.45)), **WHERE),
        a_run("grpo", accuracy=0.9),  # of another grid
    ]


def test_nothing_is_claimed_without_runs():
    assert language([a_run()]) == "Not trained yet." and short([a_run()]) == ""


def test_the_tables_by_hand():
    said = language(runs())
    assert "| legs | grpo | 2 | 20.0 | 30.0 | 35.0 | 1.000 |" in said
    assert "| legs | lean | 2 | 20.0 | 25.0 | 35.0 | 0.500 |" in said
    # 100 s in ten training steps; 1,000 tokens, none of them of a search
    assert "| legs | grpo | 10.0 | 0.1 | 0.1 | 100 | 0 | 0 |" in said
    assert "90.0" not in said


def test_the_short_table_by_hand():
    _, _, plain, lean, _, note = short(runs()).splitlines()
    assert "; 10 training steps of 8 prompts, accuracy on 256 held-out problems." in note
    assert plain.startswith("| legs | `grpo` | 2 | 20.0 | 35.0 [") and plain.endswith("|  |  |  |  |")
    # -5 and +5 points, half of the tokens in both seeds
    assert lean.startswith("| legs | `lean` | 2 | 20.0 | 35.0 [")
    assert "| +0.0 [-63.5, +63.5] | 0.50 | 1.00 | 1.00 |" in lean


def test_the_short_table_compares_with_grpo_as_the_grid_has_it():
    more = a_run("grpo", rollouts=10, base=Settings(rollouts=8), accuracy=0.6, rows=2000.0, **WHERE)
    said = short([more, *runs()])
    assert "| legs | `grpo rollouts=10` | 1 |" in said and "| +30.0 (no interval) | 1.00 | 1.56 | 1.00 |" in said
    assert "| +0.0 [-63.5, +63.5] |" in said
