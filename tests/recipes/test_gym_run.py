"""The reasoning-gym recipe: the arithmetic one's script with other data, lengths and reward."""

import json

import pytest

from recipes.gym.tasks import TASKS
from tests.conftest import REPOSITORY
from tests.recipes.conftest import composed
from verl_gpo.plugin.checks.validate import check
from verl_gpo.plugin.checks.without_effect import reentry_selected

SCRIPT = REPOSITORY / "recipes" / "gym" / "run.sh"


@pytest.mark.parametrize(
    ("task", "algo", "method"),
    [
        ("chain_sum", "grpo", "gpo"),
        ("chain_sum", "drgrpo", "random"),
        ("chain_sum", "dapo", "plain"),
        ("count_bits", "ppo", "gpo"),
        ("count_bits", "dapo", "random"),
        ("count_bits", "drgrpo", "plain"),
    ],
)
def test_each_task_composes(arguments_of, tmp_path, task, algo, method):
    data = tmp_path / "a folder"
    result, arguments = arguments_of(
        SCRIPT, "trainer.total_training_steps=3", TASK=task, ALGO=algo, METHOD=method, DATA_DIR=str(data)
    )
    assert result.returncode == 0, result.stderr
    prepared = json.loads((tmp_path / "prepare.json").read_text())
    assert prepared == ["-m", "recipes.gym.prepare", "--task", task, "--out", str(data)]
    config = composed(arguments)
    gpo = check(config)
    assert reentry_selected(config) and gpo.enable == (method != "plain")
    assert (gpo.search == "random") == (method == "random")
    assert config.data.train_files == f"{data}/train.parquet"
    reward = config.reward.custom_reward_function
    assert (reward.path, reward.name) == ("pkg://verl_gpo.graders", "compute_score")
    assert config.trainer.experiment_name == f"{task}_{algo}_{method}"
    assert config.trainer.total_training_steps == 3  # what stands at the end wins

    length = config.data.max_response_length
    assert TASKS[task].prompt_tokens <= config.data.max_prompt_length and TASKS[task].response_tokens < length
    assert config.data.max_prompt_length + length <= config.actor_rollout_ref.rollout.max_model_len
    if algo == "drgrpo":
        assert config.actor_rollout_ref.actor.loss_scale_factor == length
    if algo == "dapo":  # right responses are not punished for their length
        punished = config.reward.reward_kwargs
        assert punished.max_resp_len == length
        assert TASKS[task].response_tokens <= length - punished.overlong_buffer_cfg.len


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TASK": "chain"}, "TASK=chain: must be one of chain_sum count_bits"),
        ({"METHOD": "gpro"}, "METHOD=gpro: must be one of gpo random plain"),
        ({"ALGO": "pppo"}, "ALGO=pppo: must be one of"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(arguments_of, environment, message):
    result, arguments = arguments_of(SCRIPT, **environment)
    assert result.returncode == 2 and arguments is None
    assert message in result.stderr
