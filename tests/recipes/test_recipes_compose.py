"""Every recipe script, with each of its methods, gives a configuration that composes and passes the checks."""

import json
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from tests.conftest import REPOSITORY
from verl_gpo.plugin.validate import check, reentry_selected

SCRIPTS = sorted(REPOSITORY.glob("recipes/*/run*.sh"))
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


def test_there_are_recipes():
    assert SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize(
    ("method", "estimator", "rule", "enabled"),
    [("gpo", "gpo", "argmax", True), ("random", "gpo", "random", True), ("grpo", "grpo", "argmax", False)],
)
def test_each_method_composes_and_passes(arguments_of, script, method, estimator, rule, enabled):
    result, arguments = arguments_of(script, "trainer.total_training_steps=3", METHOD=method, PRESET="fast")
    assert result.returncode == 0, result.stderr
    config = composed(arguments)
    gpo = check(config)
    assert config.algorithm.adv_estimator == estimator
    assert (gpo.rule, gpo.enable, gpo.preset) == (rule, enabled, "fast" if enabled else "paper")
    assert reentry_selected(config)
    assert config.trainer.total_training_steps == 3  # what stands at the end wins


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_an_unknown_method_is_refused_by_name(arguments_of, script):
    result, arguments = arguments_of(script, METHOD="gpro")
    assert result.returncode == 2 and arguments is None
    assert "METHOD=gpro: must be one of gpo, random, grpo" in result.stderr
