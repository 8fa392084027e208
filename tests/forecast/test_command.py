"""The whole command on an untrained model, with an engine in torch: what it writes, goes on with, and refuses."""

import json

import pytest

from tests.conftest import REPOSITORY
from tests.forecast.fakes import TorchEngine
from verl_gpo.forecast import __main__ as command
from verl_gpo.forecast import run as run_module
from verl_gpo.forecast.groups import read

REWARD = "def compute_score(solution_str, **row):\n    return float(len(solution_str) % 2)\n"


@pytest.fixture
def forecast(tiny_run, tmp_path, monkeypatch):
    """``forecast(*options, **engine)``: exit status; the engines that were made are in ``forecast.made``."""
    (tmp_path / "reward.py").write_text(REWARD)

    def run(*options, **engine):
        def build(forecast):
            run.made.append(TorchEngine(forecast.settings.model, **engine))
            return run.made[-1]

        monkeypatch.setattr(run_module, "build_engine", build)
        fixed = ["--model", f"{tiny_run}/model", "--data", f"{tiny_run}/train.parquet", "--out", f"{tmp_path}/out"]
        fixed += ["--reward", f"{tmp_path}/reward.py", "--n", "4", "--batches", "3", "--groups", "2"]
        fixed += ["--eval-prompts", "3", "--eval-samples", "2", "--response-length", "6", "--mini-batch", "8"]
        return command.main([*fixed, "--methods", "lean,random", *options, "min_step_tokens=2", "splitter=tokens",
                             "splitter_option=2"])  # fmt: skip

    run.made = []
    return run


def test_a_forecast(forecast, tmp_path, capsys):
    assert forecast() == 0
    out = tmp_path / "out"
    record = json.loads((out / "forecast.json").read_text())
    assert [row["name"] for row in record["methods"]] == ["grpo", "lean", "random"]
    groups = read(out / "groups.jsonl")
    base = [one for one in groups if one.method == "grpo"]
    assert sorted(one.batch for one in base) == [0, 0, 1, 1, 2, 2]
    per_batch = sum(one.tokens for one in base) / 3
    for row in record["methods"]:
        mine = [one for one in groups if one.method == row["name"]]
        assert row["groups"] == len(mine) and row["rows"] == 4
        assert row["tokens"] == pytest.approx(sum(one.tokens for one in mine) / len(mine))
        # Each batch ends with the group that reaches the tokens, so it has less than a group too many.
        assert per_batch <= row["batch_tokens"] + 1 < per_batch + max(one.tokens for one in mine) + 1
        assert -1 <= row["cosine"]["low"] <= row["cosine"]["value"] <= row["cosine"]["high"] <= 1
    # Prompts of batches and of the evaluation are apart.
    prompts = [{one.prompt for one in base if one.batch == batch} for batch in range(3)]
    assert len(set.union(*prompts)) == sum(map(len, prompts))
    (engine,) = forecast.made
    assert len(engine.loaded) == 3 and engine.stopped and not (out / "step").exists()
    assert record["weights"] == record["of_weights"] and record["recommendation"]
    text = capsys.readouterr().out
    assert record["recommendation"].split(".")[0] in " ".join(text.split()) and max(map(len, text.splitlines())) <= 100


def test_it_goes_on_where_it_stopped(forecast, tmp_path):
    assert forecast("--step", "0") == 0
    path = tmp_path / "out" / "groups.jsonl"
    whole, lines = read(path), path.read_text().splitlines(keepends=True)
    first = forecast.made[0].requests
    assert forecast("--step", "0") == 0
    assert read(path) == whole and forecast.made[1].requests == 0
    path.write_text("".join(lines[:-2]) + lines[-2][:20])
    assert forecast("--step", "0") == 0
    assert len(read(path)) == len(whole) and 0 < forecast.made[2].requests < first
    assert not forecast.made[2].loaded  # no step was asked for


def test_groups_of_other_settings_are_refused(forecast, capsys):
    assert forecast("--step", "0") == 0
    capsys.readouterr()
    assert forecast("--step", "0", "--n", "8") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "holds groups of other settings: n (4 there, 8 here)" in error
    assert len(forecast.made) == 1


def test_a_mistake_is_one_line_before_an_engine(forecast, capsys, tmp_path):
    for options, said in (
        (["--batches", "14"], "has 16 rows; --batches=14 without a common prompt"),
        (["--weights", "nowhere"], "--weights='nowhere': must be found in the name of a weight"),
        (["--most-weights", "1"], "--most-weights=1: must be at least 64"),
    ):
        assert forecast(*options) == 1
        error = capsys.readouterr().err
        assert error.startswith("verl_gpo: ") and said in error and error.count("\n") == 1
    assert forecast.made == []


def test_an_engine_that_fails_is_one_line_and_stopped(forecast, capsys):
    assert forecast(fail=True) == 1
    error = capsys.readouterr().err
    assert "grpo: ten prompts in a row gave no rollouts" in error and error.count("\n") == 1
    assert forecast.made[0].stopped


def test_the_page_says_what_the_command_has():
    page = (REPOSITORY / "docs" / "forecast.md").read_text(encoding="utf-8")
    from verl_gpo.forecast.methods import NAMES

    assert all(f"`{name}`" in page for name in NAMES)
