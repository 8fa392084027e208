"""Figures of what was traced."""

import pytest

from tests.report.arithmetic import records
from verl_gpo.report.trace_figures import trace_figures
from verl_gpo.traces.reader import trajectories


@pytest.fixture(scope="module")
def made():
    return records(45)


def test_figures_of_traces_by_hand():
    def row(found, true, confidence, solved):
        critical = None if found is None else {"step": found, "confidence": confidence}
        return {"critical": critical, "true_critical": true, "solved": solved, "steps": [0] * 3}

    rows = [row(0, 0, 0.95, False), row(2, 0, 0.95, True), row(1, 1, 0.15, True), row(None, None, None, True)]
    where, sure, confusion, hits = trace_figures(rows)
    assert [(bars["name"], bars["y"]) for bars in where["data"]] == [
        ("solved", [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),  # the middle step, the last one
        ("failed", [1] + [0] * 9),
    ]
    assert sure["data"][0]["y"] == [0, 1] + [0] * 7 + [1]
    assert confusion["data"][0]["x"] == ["0", "1", "2", "none"]
    assert confusion["data"][0]["z"] == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert "3 of 4 = 0.75" in confusion["note"]
    assert hits["data"][1]["x"] == [0.15, 0.95] and hits["data"][1]["y"] == [1.0, 0.5]


def test_figures_of_traces_without_choices_or_truth(made):
    rows = [row for record in made for row in trajectories(record)]
    assert [figure["title"] for figure in trace_figures(rows)] == ["Where critical steps are", "How sure the choice is"]
    assert trace_figures([{**row, "critical": None} for row in rows]) == [] == trace_figures([])
