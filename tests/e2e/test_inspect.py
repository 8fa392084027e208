"""Inspection of a model with real vLLM: traces, and the page with what is true drawn beside what was found."""

import pytest

from tests.e2e.conftest import RECIPE
from verl_gpo.report.__main__ import main
from verl_gpo.traces.reader import trace_frame

pytestmark = pytest.mark.e2e


def test_inspect_a_model_and_a_data_set(arithmetic_data, tmp_path, capsys):
    out = tmp_path / "report.html"
    where = ["--model", f"{arithmetic_data}/model", "--data", f"{arithmetic_data}/test.parquet"]
    small = ["--prompts", "6", "--response-length", "96", "--max-model-len", "256", "--reward", f"{RECIPE}/reward.py"]
    truth = ["--truth", f"recipes.arithmetic.truth:of_model={arithmetic_data}/model"]
    settings = ["min_step_tokens=3", "n_mc=8", "rule=abs"]
    assert main(["inspect", *where, *small, *truth, "--out", str(out), *settings]) == 0
    assert "6 of 6 traces" in capsys.readouterr().out
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    frame = trace_frame(tmp_path / "report_traces")
    assert sorted(frame["uid"]) == [f"row-{number}" for number in range(6)]
    assert frame["n_steps"].eq(9).all() and frame["value_tokens"].gt(0).all()
    # The model is sure of its answer line once it has written the line before it.
    assert all(abs(row.states[-2]["value"] - row.reward) < 0.3 for row in frame.itertuples())
    continuations = [c for row in frame.itertuples() for state in row.states for c in state["continuations"]]
    assert len(continuations) >= 6 * 8 * 8 and all(c["seconds"] > 0 for c in continuations)
