"""What the recipes' scripts ask Python to run, without running it."""

import json
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

# Stands in for Python: writes down the arguments of the training and those of the preparation, and does nothing else.
RECORDER = """#!{python}
import json, sys
name = "arguments" if "verl.trainer.main_ppo" in sys.argv else "prepare"
json.dump(sys.argv[1:], open({folder!r} + "/" + name + ".json", "w"))
"""


@pytest.fixture
def arguments_of(tmp_path):
    """The training's arguments as a script would pass them to Python; ``prepare.json`` has the preparation's."""

    def run(script, *arguments, **environment):
        target, python = tmp_path / "arguments.json", tmp_path / "python"
        python.write_text(RECORDER.format(python=sys.executable, folder=str(tmp_path)))
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
