"""The whole with the real vLLM, on a model that has learnt nothing."""

import json

import pytest

from tests.conftest import REPOSITORY
from tests.evaluation.conftest import read_lines
from verl_gpo.evaluation import generate
from verl_gpo.evaluation.__main__ import main

pytestmark = pytest.mark.e2e


def test_evaluate_go_on_and_compare(tiny_run, tmp_path, monkeypatch, capsys):
    where = ["--model", f"{tiny_run}/model", "--benchmarks", f"arithmetic={tiny_run}/test.parquet"]
    reward = ["--reward", f"{REPOSITORY}/recipes/arithmetic/reward.py", "--max-model-len", "256"]
    run = tmp_path / "run"
    # More tokens than the model has room for: the response ends where the room does.
    call = [*where, *reward, "--limit", "2", "--k", "2", "--temperature", "1", "--top-p", "1", "--out", str(run)]
    assert main(call) == 0
    lines = read_lines(run / "samples" / "arithmetic.jsonl")
    assert [(line["index"], line["sample"]) for line in lines] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({line["response"] for line in lines}) == 4  # sampled, each with random numbers of its own
    assert all(line["finish"] in ("stop", "length") and 0 < line["tokens"] < 256 for line in lines)
    row = json.loads((run / "summary.json").read_text())["benchmarks"]["arithmetic"]
    assert row["tokens"] == sum(line["tokens"] for line in lines) / 4
    assert row["truncated"] == sum(line["finish"] == "length" for line in lines) / 4

    def no_engine(settings, seed):
        raise AssertionError("nothing is missing")

    monkeypatch.setattr(generate, "build_engine", no_engine)
    assert main(call) == 0
    assert read_lines(run / "samples" / "arithmetic.jsonl") == lines
    assert main(["compare", str(run), str(run)]) == 0
    compared = json.loads((run / "compare.json").read_text())["benchmarks"]["arithmetic"]
    assert (compared["difference"], compared["p"], compared["problems"]) == (0, 1, 2)
    assert "arithmetic" in capsys.readouterr().out
