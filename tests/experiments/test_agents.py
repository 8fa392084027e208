"""The tables of the grid of conversations with tools."""

from scripts.experiments.agents import agents
from tests.experiments.samples import a_run


def test_nothing_is_claimed_without_runs():
    assert agents([a_run()]) == "Not measured yet."


def test_the_tables_by_hand():
    where = {"grid": "agents", "regime": "walk5"}
    runs = [
        a_run("grpo", accuracy=0.5, curve=((0, 0.4), (1000, 0.5)), **where),
        a_run("tool_entropy", accuracy=0.6, curve=((0, 0.4), (1000, 0.6)), hits=5.0, chosen=20.0, **where),
        a_run("gpo_fast", accuracy=0.9, curve=((0, 0.4), (1000, 0.9)), hits=18.0, chosen=20.0, **where),
        a_run("gpo_fast", accuracy=0.1),  # of another grid
    ]
    said = agents(runs)
    assert "| walk5 | 0 | 40.0 | 40.0 |" in said
    assert "| walk5 | gpo_fast | 1 | 90.0 [80.0, 100.0] (problems) |" in said and "10.0 [" not in said
    assert "| agents | walk5 | gpo_fast | 1 | 18 of 20 | 0.90 [" in said
    assert "| agents | walk5 | tool_entropy | 1 | 5 of 20 | 0.25 [" in said
    assert "| walk5 | gpo_fast | grpo | 1 | 1,000 | +40.0" in said
