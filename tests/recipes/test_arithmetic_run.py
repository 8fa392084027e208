"""The arithmetic recipe gives a configuration that composes and passes the checks, for each optimizer and method."""

import json

import pytest
from omegaconf import OmegaConf

from tests.conftest import REPOSITORY
from tests.recipes.conftest import composed
from verl_gpo.plugin.checks.validate import check
from verl_gpo.plugin.checks.without_effect import reentry_selected

SCRIPT = REPOSITORY / "recipes" / "arithmetic" / "run.sh"

#: Optimizer -> verl's estimator without GPO, and what else shows in the configuration under every method.
ARITHMETIC = {
    "grpo": ("grpo", {}),
    "drgrpo": ("grpo", {"algorithm.norm_adv_by_std_in_grpo": False}),
    "rloo": ("rloo", {}),
    "opo": ("opo", {}),
    "reinforce_plus_plus": ("reinforce_plus_plus", {}),
    "reinforce_plus_plus_baseline": ("reinforce_plus_plus_baseline", {}),
    "ppo": ("gae", {"critic.optim.lr": 1e-3}),
    "dapo": ("grpo", {"algorithm.filter_groups.enable": True, "actor_rollout_ref.actor.clip_ratio_high": 0.28}),
    "gspo": ("grpo", {"actor_rollout_ref.actor.policy_loss.loss_mode": "gspo"}),
}


@pytest.mark.parametrize("algo", ARITHMETIC)
def test_each_optimizer_composes_under_each_method(arguments_of, algo):
    stock, settings = ARITHMETIC[algo]
    for method, search, enabled in (("gpo", "adaptive", True), ("random", "random", True), ("plain", "uniform", False)):
        result, arguments = arguments_of(
            SCRIPT, "trainer.total_training_steps=3", ALGO=algo, METHOD=method, PRESET="fast"
        )
        assert result.returncode == 0, result.stderr
        config = composed(arguments)
        gpo = check(config)
        assert (gpo.search, gpo.enable) == (search, enabled)
        assert config.algorithm.adv_estimator == ("gpo" if enabled and stock != "gae" else stock)
        assert gpo.base_estimator == (stock if enabled and stock != "gae" else "grpo")
        assert {key: OmegaConf.select(config, key) for key in settings} == settings  # the same with and without GPO
        assert reentry_selected(config)
        assert config.trainer.total_training_steps == 3  # what stands at the end wins


@pytest.mark.parametrize("folder", ["step=100, [a] b", "it's"])
def test_paths_arrive_as_they_were_written(arguments_of, tmp_path, folder):
    data = tmp_path / folder
    result, arguments = arguments_of(SCRIPT, ALGO="ppo", DATA_DIR=str(data), OUT_DIR=str(tmp_path / f"{folder} out"))
    assert result.returncode == 0, result.stderr
    config = composed(arguments)
    assert config.data.train_files == f"{data}/train.parquet"
    assert config.actor_rollout_ref.model.path == config.critic.model.path == f"{data}/model"
    assert config.trainer.default_local_dir == f"{tmp_path}/{folder} out/checkpoints"


def test_a_dry_run_plans_and_prepares_nothing(arguments_of, tmp_path):
    result, arguments = arguments_of(SCRIPT, "data.seed=1", DRY_RUN="1")
    assert result.returncode == 0 and arguments is None
    called = json.loads((tmp_path / "prepare.json").read_text())  # whatever is no training
    assert called[:2] == ["-m", "verl_gpo.plan"] and called[-1] == "data.seed=1"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"METHOD": "gpro"}, "METHOD=gpro: must be one of gpo random plain"),
        ({"ALGO": "pppo"}, "ALGO=pppo: must be one of"),
        ({"N_GPUS": "0"}, "N_GPUS=0: must be an integer of at least 1"),
        ({"RESPONSE_LENGTH": "long"}, "RESPONSE_LENGTH=long: must be an integer of at least 1"),
        ({"PREPARE_ARGS": "--out 'x"}, "PREPARE_ARGS=--out 'x: a quote is not closed"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(arguments_of, environment, message):
    result, arguments = arguments_of(SCRIPT, **environment)
    assert result.returncode == 2 and arguments is None
    assert message in result.stderr
