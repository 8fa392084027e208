"""Figures that compare runs, and their table, by hand."""

import json

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.report.figures import run_figures, run_table
from verl_gpo.report.runs import read_runs

RESULTS = REPOSITORY / "recipes" / "arithmetic" / "results"


def write(folder, steps, name="metrics.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in steps.items()]
    (folder / name).write_text("".join(lines))
    return folder


@pytest.fixture
def groups(tmp_path):
    """Two seeds of one method, one of another that logs nothing of GPO's."""
    seeds = [
        {
            0: {"val-core/a/acc/mean@1": 0.2},
            1: {"gpo/tokens/root": 100.0, "gpo/tokens/value": 50.0, "timing_s/step": 4.0, "timing_s/gen": 3.0},
            2: {"val-core/a/acc/mean@1": after, "gpo/tokens/root": 100.0, "timing_s/step": 2.0, "timing_s/gen": 1.0},
        }
        for after in (0.4, 0.6)
    ]
    paths = [write(tmp_path / f"g{number}", seed) for number, seed in enumerate(seeds)]
    plain = write(tmp_path / "p", {0: {"val-core/a/acc/mean@1": 0.3}, 1: {"timing_s/step": 1.0}})
    return read_runs([*(f"GPO={path}" for path in paths), f"plain={plain}"])


def named(figures):
    return {figure["title"]: figure for figure in figures}


def test_accuracy_is_drawn_against_what_it_cost_with_a_band_over_seeds(groups):
    figures = named(run_figures(groups))
    low, high, line = figures["Validation accuracy against tokens"]["data"]  # the run without counts has no tokens
    assert line["x"] == [0, 250] and line["y"] == [pytest.approx(0.2), pytest.approx(0.5)]
    assert low["y"][1] < 0.5 < high["y"][1] and high["fill"] == "tonexty"
    assert "Seeds: GPO: 2, plain: 1. Bands: 95 % t intervals." in figures["Validation accuracy against tokens"]["note"]
    seconds = figures["Validation accuracy against seconds"]["data"]
    assert seconds[-1]["name"] == "GPO" and seconds[-1]["x"] == [0, 6]


def test_seconds_add_up_to_the_step(groups):
    figure = named(run_figures(groups))["Seconds by phase"]
    bars = {bar["name"]: bar["x"] for bar in figure["data"]}
    assert bars == {"rollout, search and re-entry": [4.0, 0.0], "the rest": [2.0, 1.0]}


def test_what_no_run_has_logged_has_no_figure(groups):
    assert "Prefix cache hits" not in named(run_figures(groups))
    assert run_figures([]) == []


def test_the_table_gives_means_with_intervals(groups):
    rows = {row[0]: row[1:] for row in run_table(groups)}
    assert rows[""] == ["GPO", "plain"] and rows["seeds"] == ["2", "1"]
    assert rows["validation accuracy, last"] == ["0.5 ± 1.27", "0.3"]
    assert rows["generated tokens"] == ["250 ± 0", ""]


def test_committed_runs_have_every_figure_of_a_single_seed():
    figures = named(run_figures(read_runs([str(RESULTS / "gpo"), str(RESULTS / "grpo")])))
    assert {
        "Validation accuracy against tokens",
        "Validation accuracy against seconds",
        "Tokens by purpose",
        "Seconds by phase",
        "Root and re-entry accuracy",
        "Position of the critical step",
        "Prefix cache hits",
    } <= set(figures)
    json.dumps(list(figures.values()), allow_nan=False)
