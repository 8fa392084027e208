"""The script of the recipe: what it prepares, what it asks verl for, and what its configuration is."""

import json

import pytest

from tests.conftest import REPOSITORY
from tests.recipes.conftest import composed
from verl_gpo.plugin.checks.validate import check, reentry_selected

SCRIPT = REPOSITORY / "recipes" / "smollm2" / "run.sh"
SETUPS = sorted(path.stem for path in (SCRIPT.parent / "config" / "setup").glob("*.yaml"))


@pytest.mark.parametrize(
    ("setup", "algo", "method"),
    [
        ("leg_counting", "grpo", "gpo"),
        ("leg_counting", "rloo", "plain"),
        ("gsm_symbolic", "drgrpo", "random"),
        ("gsm_symbolic", "ppo", "gpo"),
        ("qwen2_5_0_5b_gsm8k", "grpo", "gpo"),
        ("smollm2_360m_gsm8k", "grpo", "plain"),
    ],
)
def test_each_setup_composes(arguments_of, tmp_path, setup, algo, method):
    data = tmp_path / "a folder"
    variables = {"SETUP": setup, "ALGO": algo, "METHOD": method, "DATA_DIR": str(data), "MATCH": "none"}
    result, arguments = arguments_of(SCRIPT, "trainer.total_training_steps=3", **variables)
    assert result.returncode == 0, result.stderr
    config = composed(arguments)
    gpo = check(config)
    assert reentry_selected(config) and gpo.enable == (method != "plain") and gpo.rows == "matched"
    assert (gpo.search == "random") == (method == "random")
    assert config.trainer.total_training_steps == 3  # what stands at the end wins
    assert config.trainer.experiment_name == f"{setup}_{algo}_{method}"
    reward = "pkg://verl_gpo.graders" if "gsm8k" in setup else str(SCRIPT.parent / "reward.py")
    assert config.reward.custom_reward_function.path == reward
    rollout, lengths = config.actor_rollout_ref.rollout, config.data
    assert lengths.max_prompt_length + lengths.max_response_length <= rollout.max_model_len
    prepared = tmp_path / "prepare.json"
    if "gsm8k" in setup:
        assert not prepared.exists() and config.data.train_files == f"{data}/gsm8k/train.parquet"
        assert config.algorithm.rollout_correction.bypass_mode is False
    else:
        command = json.loads(prepared.read_text())
        assert command == ["-m", "recipes.smollm2.prepare", "--task", setup, "--out", str(data)]
        assert config.actor_rollout_ref.model.path == f"{data}/model"
        # Log-probabilities of the engine's serve only where a training step is one optimizer step.
        assert config.algorithm.rollout_correction.bypass_mode is True
        assert config.data.train_batch_size == config.actor_rollout_ref.actor.ppo_mini_batch_size
        assert config.actor_rollout_ref.actor.ppo_epochs == 1


def test_the_published_curves_settings(arguments_of):
    _, arguments = arguments_of(SCRIPT, SETUP="qwen2_5_0_5b_gsm8k", METHOD="plain", MATCH="none")
    config = composed(arguments)
    actor = config.actor_rollout_ref.actor
    assert (config.data.train_batch_size, actor.ppo_mini_batch_size, config.actor_rollout_ref.rollout.n) == (64, 64, 8)
    assert (actor.optim.lr, actor.use_kl_loss, actor.kl_loss_coef) == (1e-6, True, 1e-4)
    assert (config.data.max_response_length, config.trainer.total_training_steps) == (1024, 2000)


def test_another_model_is_supervised_or_taken_as_it_is(arguments_of, tmp_path):
    more = {"PREPARE_ARGS": "--max-animals 8 --steps 40"}
    result, _ = arguments_of(SCRIPT, MODEL="org/name", DATA_DIR="/data", PRESET="paper", **more)
    assert result.returncode == 0, result.stderr
    command = json.loads((tmp_path / "prepare.json").read_text())
    assert command[4:] == ["--out", "/data", "--max-animals", "8", "--steps", "40", "--model", "org/name"]
    result, arguments = arguments_of(SCRIPT, SETUP="smollm2_360m_gsm8k", MODEL="org/name", PRESET="paper")
    config = composed(arguments)
    assert config.actor_rollout_ref.model.path == "org/name" and config.algorithm.gpo.preset == "paper"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SETUP": "legs"}, f"SETUP=legs: must be one of {' '.join(SETUPS)}"),
        ({"METHOD": "gpro"}, "METHOD=gpro: must be one of gpo random plain"),
        ({"ALGO": "pppo"}, "ALGO=pppo: must be one of"),
        ({"MATCH": "tokens"}, "MATCH=tokens: must be one of n prompts none"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(arguments_of, environment, message):
    result, arguments = arguments_of(SCRIPT, **environment)
    assert result.returncode == 2 and arguments is None
    assert message in result.stderr
