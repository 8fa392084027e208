"""Pairs with the real vLLM, from a model that has learnt nothing, and a training on them."""

import json

import pyarrow.parquet as pq
import pytest

from verl_gpo.offline import build, train
from verl_gpo.offline.records import file_of, read_records

pytestmark = pytest.mark.e2e

# Noise has no right answer; what every second response has is an outcome all the same.
REWARD = """
def compute_score(solution_str, **row):
    return float(sum(map(ord, solution_str)) % 2)
"""


def test_pairs_are_built_chosen_anew_and_trained_on(tiny_run, tmp_path, monkeypatch):
    (tmp_path / "reward.py").write_text(REWARD)
    out = tmp_path / "pairs"
    call = ["--model", f"{tiny_run}/model", "--data", f"{tiny_run}/train.parquet", "--out", str(out)]
    call += ["--reward", f"{tmp_path}/reward.py", "--response-length", "24", "--max-model-len", "256", "--roots", "4"]
    call += ["--truncated", "keep", "splitter=tokens", "splitter_option=6", "n_mc=2"]
    assert build.main([*call, "--prompts", "4"]) == 0
    records = read_records(file_of(out))
    assert [record.index for record in records] == [0, 1, 2, 3]
    for record in records:
        assert {len(rollout.token_ids) for rollout in record.roots} <= set(range(1, 25))
        for state in record.states:
            assert any(root.token_ids[: len(state.prefix)] == state.prefix for root in record.roots)
    rows = pq.read_table(out / "pairs.parquet").to_pylist()
    assert rows and all((row["chosen_reward"], row["rejected_reward"]) == (1.0, 0.0) for row in rows)
    tokens = json.loads((out / "report.json").read_text())["tokens"]
    assert tokens["total"] == sum(record.cost for record in records) and all(
        tokens[k] for k in ("root", "value", "reentry")
    )

    monkeypatch.setattr(build, "build_engine", lambda plan, seed: pytest.fail("nothing is missing"))
    assert build.main([*call, "--prompts", "3", "--select", "all"]) == 0
    assert {row["index"] for row in pq.read_table(out / "pairs.parquet").to_pylist()} <= {0, 1, 2}

    trained = tmp_path / "trained"
    where = ["--method", "dpo", "--model", f"{tiny_run}/model", "--pairs", str(out), "--out", str(trained)]
    assert train.main([*where, "max_steps=1", "gradient_checkpointing=false", "save_strategy=no"]) == 0
    assert json.loads((trained / "train.json").read_text())["optimizer_steps"] == 1
