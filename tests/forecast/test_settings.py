"""One-line errors before an engine starts."""

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.forecast.settings import ForecastSettings, check, parse_args

REWARD = f"{REPOSITORY}/recipes/arithmetic/reward.py"


def arguments(folder, *more):
    fixed = ["--model", f"{folder}/model", "--data", f"{folder}/test.parquet", "--out", f"{folder}/out"]
    return [*fixed, "--reward", REWARD, "--eval-prompts", "4", "--batches", "3", *more]


def test_the_command_line_fills_the_dataclass(tiny_run):
    found = parse_args(arguments(tiny_run, "--n", "4", "--engine", "dtype=float32", "min_step_tokens=3"))
    assert isinstance(found, ForecastSettings) and (found.n, found.batches, found.temperature) == (4, 3, 1.0)
    assert found.engine == ("dtype=float32",) and found.gpo == ("min_step_tokens=3",)
    forecast = check(found)
    assert [one.name for one in forecast.methods][0] == "grpo" and len(forecast.prompts) == 16
    assert {one.config.min_step_tokens for one in forecast.methods} == {3}
    assert forecast.drawn_with["n"] == 4 and "weights" not in forecast.drawn_with


def test_the_base_is_always_there(tiny_run):
    found = parse_args(arguments(tiny_run, "--methods", "lean"))
    assert [one.name for one in found.all_methods()] == ["grpo", "lean"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--batches", "2"], "--batches=2: must be at least 3"),
        (["--n", "1"], "--n=1: must be at least 2"),
        (["--mini-batch", "0"], "--mini-batch=0: must be at least 1"),
        (["--step", "-1"], "--step=-1.0: must be at least 0"),
        (["--temperature", "0"], "--temperature=0.0: must be above 0"),
        (["--top-p", "0.9"], "--top-p=0.9: must be 1"),
        (["--methods", "lean,best"], "--methods=best: must be of grpo, "),
        (["--max-model-len", "512"], "--max-model-len=512: must be above --response-length=1024"),
        (["--weights", "("], "--weights='\\(': must be a regular expression"),
        (["--engine", "dtype"], "--engine 'dtype': must be KEY=VALUE"),
        (["--engine", "seed=1"], "--engine seed: give it as --seed"),
        (["--eval-prompts", "14"], "has 16 rows; --batches=3 without a common prompt and --eval-prompts=14"),
        (["--data", "nowhere.parquet"], "--data='nowhere.parquet': not a readable parquet file"),
        (["--model", "./nowhere"], "--model=./nowhere: no such folder"),
        (["--reward", "nothing.py"], "--reward='nothing.py': no such file"),
        (["--n", "2", "--methods", "fast"], "--n=2: fast needs more rollouts"),
        (["n_mc=0"], "algorithm.gpo.n_mc=0"),
        (["n_mcc=2"], "algorithm.gpo.n_mcc=2: no such key"),
    ],
)
def test_what_cannot_be_is_named(tiny_run, options, said):
    with pytest.raises(ValueError, match=said):
        check(parse_args(arguments(tiny_run, *options)))
