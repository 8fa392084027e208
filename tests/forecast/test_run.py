"""Which prompts a forecast uses, and which weights get a gradient; the whole is in test_command."""

import pytest
import torch
from rich.console import Console

from tests.conftest import REPOSITORY
from tests.forecast.fakes import TorchEngine
from verl_gpo.forecast.run import Run, pick
from verl_gpo.forecast.settings import ForecastSettings, check


def run_of(folder, tmp_path, max_model_len, **settings):
    own = {"eval_prompts": 4, "batches": 3, "response_length": 8} | settings
    where = {"model": f"{folder}/model", "data": f"{folder}/test.parquet", "out": tmp_path}
    asked = ForecastSettings(**where, reward=f"{REPOSITORY}/recipes/arithmetic/reward.py", **own)
    return Run(check(asked), TorchEngine(f"{folder}/model", max_model_len), Console())


def test_prompts_of_the_evaluation_and_of_batches_are_apart(tiny_run, tmp_path):
    run = run_of(tiny_run, tmp_path, 256)
    assert len(run.held_out) == 4 and sorted(run.held_out + run.asked) == list(range(16)) and run.left_out == []
    assert run.asked != sorted(run.asked)  # in random order
    assert run.asked == run_of(tiny_run, tmp_path, 256).asked != run_of(tiny_run, tmp_path, 256, seed=1).asked
    assert run_of(tiny_run, tmp_path, 256, step=0.0).held_out == []


def test_prompts_that_the_engine_cannot_take_are_left_out(tiny_run, tmp_path):
    with pytest.raises(ValueError, match="only 0 prompts are usable"):
        run_of(tiny_run, tmp_path, 20)


def test_only_the_chosen_weights_get_a_gradient(tiny_run):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(f"{tiny_run}/model")
    weights = pick(model, "layers.1.mlp", 10**9)
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == set(weights)
    assert all("layers.1.mlp" in name for name in weights) and len(weights) == 3
    assert isinstance(next(iter(weights.values())), torch.nn.Parameter)
