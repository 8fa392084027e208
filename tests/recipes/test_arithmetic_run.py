"""The arithmetic recipe gives a configuration that composes and passes the checks, for each optimizer and method."""

import json
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.conftest import REPOSITORY
from verl_gpo.plugin.validate import check, reentry_selected

SCRIPT = REPOSITORY / "recipes" / "arithmetic" / "run.sh"
# Stands in for Python: writes down the arguments of the training, and does nothing else.
RECORDER = """#!{python}
import json, sys
if "verl.trainer.main_ppo" in sys.argv:
    json.dump(sys.argv[1:], open({target!r}, "w"))
"""


@pytest.fixture
def arguments_of(tmp_path):
    """The training's arguments as a script would pass them to Python."""

    def run(script, *arguments, **environment):
        target, python = tmp_path / "arguments.json", tmp_path / "python"
        python.write_text(RECORDER.format(python=sys.executable, target=str(target)))
        python.chmod(0o755)
        command = ["bash", str(script), *arguments]
        environment = {**os.environ, "PYTHON": str(python), "OUT_DIR": str(tmp_path / "out"), **environment}
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
        return result, json.loads(target.read_text()) if target.exists() else None

    return run


def composed(arguments):
    folder, name = (arguments[arguments.index(option) + 1] for option in ("--config-path", "--config-name"))
    overrides = arguments[arguments.index("--config-name") + 2 :]
    with initialize_config_dir(config_dir=folder, version_base=None):
        return compose(name, overrides=overrides)


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


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"METHOD": "gpro"}, "METHOD=gpro: must be one of gpo, random, plain"),
        ({"ALGO": "pppo"}, "ALGO=pppo: must be one of"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(arguments_of, environment, message):
    result, arguments = arguments_of(SCRIPT, **environment)
    assert result.returncode == 2 and arguments is None
    assert message in result.stderr
