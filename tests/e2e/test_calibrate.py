"""Calibration with real vLLM."""

import json

import pytest

from tests.e2e.conftest import RECIPE
from verl_gpo.calibrate.__main__ import main
from verl_gpo.calibrate.pool import read_pool

pytestmark = pytest.mark.e2e


def test_calibrate_on_a_model_and_a_data_set(arithmetic_data, tmp_path, capsys):
    where = ["--model", f"{arithmetic_data}/model", "--data", f"{arithmetic_data}/test.parquet"]
    small = ["--responses", "3", "--reference", "16", "--repeats", "2", "--roots", "4", "--response-length", "96"]
    shared = ["--reward", f"{RECIPE}/reward.py", "--out", f"{tmp_path}/out", "--max-model-len", "256"]
    assert main([*where, *small, *shared, "--searches", "uniform,adaptive", "anchor_outcome=solved"]) == 0
    pool = read_pool(tmp_path / "out" / "pool.jsonl")
    assert len(pool) == 3 and all(response.reward == 1.0 for response in pool)
    assert all(len(draws) == 16 for response in pool for draws in response.draws)
    assert all(len(response.log_probs) == len(response.token_ids) for response in pool)
    # From the state before the answer line nothing can go wrong any more; from the prompt much can.
    assert all(sum(reward for _, reward in response.draws[-1]) >= 15 for response in pool)
    record = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert {row["settings"].get("search", row["settings"].get("preset")) for row in record["rows"]} == {
        "uniform", "adaptive", "paper", "fast",
    }  # fmt: skip
    assert {row["rule"] for row in record["rows"]} == set(record["recommended"]) == {"argmax", "abs"}
    for row in record["rows"]:
        assert row["by_confidence"][0]["reentered"] == row["reentered"]  # a threshold of 0 lets everything through
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 1000
    assert "algorithm.gpo.search=" in capsys.readouterr().out
