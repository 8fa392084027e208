"""The command: what it prints, what it refuses."""

import json

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.plan.__main__ import main

RECIPE = ["--config-path", str(REPOSITORY / "recipes" / "math" / "config"), "--config-name", "math", "--quick"]
SETUP = "setup=qwen2_5_0_5b_gsm8k"


def test_the_plan_says_what_it_assumes(capsys, tmp_path):
    assert main([*RECIPE, SETUP, f"recipe.data_dir={tmp_path}", "+trainer.wandb_proxy=x"]) == 0
    said = capsys.readouterr().out
    for part in (
        "494,032,768 parameters (table",
        "METHOD=plain",
        "actor_rollout_ref.rollout.n=20",
        "every prompt is searched and has a critical step",
        "without effect: trainer.wandb_proxy=x: verl's configuration has no such key",
        f"python -m verl_gpo.data.prepare --dataset gsm8k --out {tmp_path}/gsm8k",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("overrides", "noted"),
    [
        (["actor_rollout_ref.actor.grad_clip=0.2"], True),
        (["actor_rollout_ref.actor.grad_clip=0.2", "actor_rollout_ref.actor.optim.clip_grad=0.2"], False),
        (["actor_rollout_ref.actor.optim.clip_grad=0.2"], False),
    ],
)
def test_a_bound_on_gradients_that_verl_does_not_read_is_noted(capsys, overrides, noted):
    assert main([*RECIPE, SETUP, *overrides]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("actor_rollout_ref.actor.grad_clip=0.2: verl 0.9.1 does not read it" in said) == noted


def test_a_method_that_goes_farther_at_a_learning_rate_is_noted(capsys):
    for preset in ("lean", "fast"):
        assert main([*RECIPE, SETUP, f"algorithm.gpo.preset={preset}"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert ("moves weights more than plain GRPO at the same learning rate" in said) == (preset == "lean")


def test_an_unknown_model_is_said_to_be_unknown(capsys):
    assert main([*RECIPE, SETUP, "actor_rollout_ref.model.path=someone/something"]) == 0
    said = capsys.readouterr().out
    assert "memory: not estimated, someone/something is neither on this host nor in the table" in said
    assert "Memory of a GPU" not in said


def test_numbers_as_json(capsys):
    assert main([*RECIPE, SETUP, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["steps"]["this run"]["tokens"] == numbers["steps"]["plain twin"]["tokens"] == 640_000
    assert numbers["twins"]["random"] == ["actor_rollout_ref.rollout.n=22"]


def test_a_twins_overrides_alone(capsys):
    assert main([*RECIPE, SETUP, "--twin", "plain", "--match", "prompts"]) == 0
    said = capsys.readouterr().out.split()
    assert said == ["data.train_batch_size=320", "actor_rollout_ref.actor.ppo_mini_batch_size=320"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("algorithm.gpo.n_mc=0", "algorithm.gpo.n_mc=0: must be an integer of at least 1"),
        (
            "algorithm.gpo.searhc=uniform",
            "searhc=uniform: no such key; did you mean algorithm.gpo.search?",
        ),
        ("actor_rollout_ref.rollout.n=abc", "actor_rollout_ref.rollout.n='abc': must be an integer of at least 1"),
        ("actor_rollout_ref.rollout.n=5", "actor_rollout_ref.rollout.n=5: must be at least 6"),
        ("data.max_response_length=1280", "max_model_len=1280: must be above 1280, data.max_response_length"),
        ("recipe.gpu_gb=0", "recipe.gpu_gb=0: must be a number above 0"),
        ("recipe.response_tokens=2000", "must be at most data.max_response_length=768"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(capsys, override, said):
    assert main([*RECIPE, SETUP, override]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("verl_gpo: ") and said in captured.err
    assert captured.err.count("\n") == 1


def test_what_verls_own_classes_refuse_is_said_in_one_line_as_well(capsys):
    assert main([*RECIPE[:-1], SETUP, "actor_rollout_ref.actor.loss_agg_mode=mean"]) == 1
    assert capsys.readouterr().err == "verl_gpo: Invalid loss_agg_mode: mean\n"
