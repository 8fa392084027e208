"""The tables of the grid of step credit."""

from scripts.experiments.credit import credit
from tests.experiments.samples import a_run


def test_nothing_is_claimed_without_runs():
    assert credit([a_run()]) == "Not trained yet."


def test_the_tables_by_hand():
    where = {"grid": "credit", "regime": "rare8"}
    runs = [
        a_run("grpo", accuracy=0.4, curve=((0, 0.2), (1000, 0.4)), optimizer_steps=12, tokens=1000, **where),
        a_run(
            "grpo",
            accuracy=0.8,
            curve=((0, 0.2), (1000, 0.8)),
            optimizer_steps=24,
            tokens=1000,
            mini_batches=2,
            **where,
        ),
        a_run("fast_steps", accuracy=0.7, curve=((0, 0.2), (2000, 0.6)), optimizer_steps=20, tokens=2000, **where),
        a_run("vineppo", accuracy=0.5, curve=((0, 0.2), (9000, 0.5)), optimizer_steps=30, prompts=2, **where),
        a_run("grpo", accuracy=0.3, curve=((0, 0.2), (300, 0.3)), optimizer_steps=30, prompts=2, **where),
        a_run("fast_steps", accuracy=0.1),  # of another grid
    ]
    said = credit(runs)
    lines = said.splitlines()
    # In the order of optimizer steps.
    assert [line.split(" | ")[1] for line in lines[4:7]] == ["grpo", "fast_steps", "grpo mini_batches=2"]
    assert "| rare8 | fast_steps | 1 | 20 | 2.00" in said
    # At 1,000 tokens 0.2 + (0.6 - 0.2) / 2 = 0.4 against 0.8.
    assert "| rare8 | fast_steps | grpo mini_batches=2 | 1 | 1,000 | -40.0" in said
    assert "equal optimizer steps" in said and "equal rows" in said
    assert "| rare8 | fast_steps | grpo | 1 |" not in said and "| rare8 | fast_steps | grpo prompts=2 |" not in said
    # Each run of the samples has 128 rows in each of its two evaluations.
    assert "| rare8 | vineppo prompts=2 | grpo prompts=2 | 1 | 128 | +20.0" in said
