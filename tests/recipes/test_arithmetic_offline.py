"""The offline recipe gives command lines that its commands take, alike for all methods but for what they differ in."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from tests.conftest import REPOSITORY
from verl_gpo.offline import build_settings, train_settings

SCRIPT = REPOSITORY / "recipes" / "arithmetic" / "offline.sh"
# Stands in for Python: writes down the arguments, and does nothing else.
RECORDER = """#!{python}
import json, sys
with open({target!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""


@pytest.fixture
def commands(tmp_path):
    """``commands(*arguments, **environment)``: module -> its arguments, and the result."""

    def run(*arguments, **environment):
        target, python = tmp_path / "arguments.jsonl", tmp_path / "python"
        target.unlink(missing_ok=True)
        python.write_text(RECORDER.format(python=sys.executable, target=str(target)))
        python.chmod(0o755)
        environment = {**os.environ, "PYTHON": str(python), **environment}
        result = subprocess.run(
            ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
        )
        called = [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []
        return {line[1]: line[2:] for line in called if line[0] == "-m"}, result

    return run


@pytest.mark.parametrize("method", ["gpo", "random", "plain"])
@pytest.mark.parametrize("algo", list(train_settings.METHODS))
def test_the_command_lines_fit(commands, algo, method):
    called, result = commands("beta=0.7", ALGO=algo, METHOD=method, SEED="3", TOKENS="1000", STEPS="5")
    assert result.returncode == 0, result.stderr
    modules = [
        "recipes.arithmetic.prepare",
        "verl_gpo.plan.offline",
        "verl_gpo.offline.build",
        "verl_gpo.offline.train",
    ]
    assert list(called) == [*modules, "verl_gpo.evaluation"]
    checked = called["verl_gpo.plan.offline"]
    marks = [position for position, argument in enumerate(checked) if argument == "--"]
    assert checked[marks[0] + 1 : marks[1]] == called["verl_gpo.offline.build"]
    assert checked[marks[1] + 1 :] == called["verl_gpo.offline.train"]
    build = build_settings.parse_args(called["verl_gpo.offline.build"])
    assert (build.method, build.token_budget, build.seed) == (method, "1000", 3)
    assert build.gpo == ["preset=paper", "min_step_tokens=3"]
    train = train_settings.parse_args(called["verl_gpo.offline.train"])
    assert train.method == algo and str(train.pairs) == str(build.out)
    assert {"max_steps=5", "seed=3", "beta=0.7"} <= set(train.trl)
    evaluation = called["verl_gpo.evaluation"]
    assert evaluation[evaluation.index("--model") + 1] == str(train.out)


def test_methods_differ_in_nothing_but_the_method(commands):
    lines = [json.dumps(commands(METHOD=method)[0]).replace(f"-{method}-", "-METHOD-") for method in ("gpo", "plain")]
    assert lines[0].replace('"gpo"', '"METHOD"') == lines[1].replace('"plain"', '"METHOD"')


@pytest.mark.parametrize("stage", ["pairs", "train", "evaluate"])
def test_stages_can_be_run_apart(commands, stage):
    modules = {"pairs": "verl_gpo.offline.build", "train": "verl_gpo.offline.train", "evaluate": "verl_gpo.evaluation"}
    check = ["verl_gpo.plan.offline"] if stage == "pairs" else []
    assert list(commands(STAGES=stage)[0]) == ["recipes.arithmetic.prepare", *check, modules[stage]]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALGO", "ppo", "must be one of dpo kto simpo orpo"),
        ("METHOD", "grpo", "must be one of gpo random plain"),
        ("STAGES", "pair", "must be one of pairs train evaluate"),
        ("TOKENS", "1e5", "must be an integer of at least 1"),
        ("STEPS", "0", "must be an integer of at least 1"),
        ("SEED", "-1", "must be an integer of at least 1"),
        ("PYTHON", "/nowhere/python", "no such program"),
    ],
)
def test_what_cannot_be_is_refused_before_the_preparation(commands, tmp_path, name, value, said):
    called, result = commands(**{name: value})
    assert result.returncode == 2 and called == {} and not (tmp_path / "arguments.jsonl").exists()
    assert result.stderr == f"{name}={value}: {said}\n"


def test_a_launcher_with_a_space_in_its_path_is_quoted(commands, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "launch").write_text('#!/bin/sh\nshift 2\nexec "$PYTHON" "$@"\n')
    (folder / "launch").chmod(0o755)
    called, result = commands(STAGES="train", LAUNCH=f"'{folder}/launch' --num_processes 2")
    assert result.returncode == 0, result.stderr
    assert list(called) == ["recipes.arithmetic.prepare", "verl_gpo.offline.train"]


def test_the_launch_for_several_gpus_is_fsdp():
    config = yaml.safe_load((REPOSITORY / "recipes" / "accelerate" / "fsdp.yaml").read_text())
    assert config["distributed_type"] == "FSDP" and config["fsdp_config"]["fsdp_state_dict_type"] == "FULL_STATE_DICT"
