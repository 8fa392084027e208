"""The mathematics recipes: every setup, algorithm, backend and method gives a run that verl would take."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.plan.__main__ import gpo_settings, main
from verl_gpo.plan.configuration import load
from verl_gpo.plan.numbers import expectation, workload
from verl_gpo.plan.twin import TWINS, method_settings, twin
from verl_gpo.plugin.checks.verls_own import verl_refuses
from verl_gpo.plugin.checks.without_effect import reentry_selected

FOLDER = REPOSITORY / "recipes" / "math"
SCRIPT = FOLDER / "run.sh"
SETUPS = sorted(path.stem for path in (FOLDER / "config" / "setup").glob("*.yaml"))
ALGOS = sorted(path.stem for path in (FOLDER / "config" / "algo").glob("*.yaml"))
METHODS = ("gpo", "random", "plain")

# Stands in for Python: writes down what it is asked to run, and answers as the plan does when asked for a twin.
RECORDER = """#!{python}
import json, sys
module, arguments = sys.argv[2], sys.argv[3:]
with open({target!r}, "a") as file:
    print(json.dumps([module, arguments]), file=file)
if "--twin" in arguments:
    print("actor_rollout_ref.rollout.n=77")
"""


@pytest.fixture
def launched(tmp_path):
    """What the launcher asks Python to run: ``launched(*arguments, **environment)`` gives the result and the calls."""

    def run(*arguments, script=SCRIPT, **environment):
        target, python = tmp_path / "calls.jsonl", tmp_path / "python"
        target.unlink(missing_ok=True)
        python.write_text(RECORDER.format(python=sys.executable, target=str(target)))
        python.chmod(0o755)
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHON": str(python),
            "OUT_DIR": str(tmp_path / "out"),
        }
        result = subprocess.run(
            ["bash", str(script), *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**given, **environment},
            timeout=60,
        )
        calls = [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []
        return result, calls

    return run


def configuration(arguments):
    """The configuration of a recorded command line."""
    position = arguments.index("--config-name") + 2
    return load(FOLDER / "config", "math", arguments[position:])


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("method", METHODS)
def test_each_setup_runs_by_each_method(launched, setup, method):
    algo = "ppo" if setup.startswith("r1") else "grpo"
    result, calls = launched("trainer.total_training_steps=3", SETUP=setup, METHOD=method, ALGO=algo)
    assert result.returncode == 0, result.stderr
    module, arguments = calls[-1]
    assert module == "verl.trainer.main_ppo"
    found = configuration(arguments)
    gpo = gpo_settings(found)
    assert reentry_selected(found.config)
    assert gpo.enable == (method != "plain") and (gpo.search == "random") == (method == "random")
    stock = {"ppo": "gae", "grpo": "grpo"}[algo]
    assert found.get("algorithm.adv_estimator") == (stock if method == "plain" or algo == "ppo" else "gpo")
    assert found.get("reward.custom_reward_function.path") == "pkg://verl_gpo.graders"
    assert found.get("trainer.total_training_steps") == 3
    # A twin is told how many rollouts it has for the tokens of the GPO run; that run itself keeps its own.
    assert len(calls) == (1 if method == "gpo" else 2)
    assert found.get("actor_rollout_ref.rollout.n") == (8 if method == "gpo" else 77)


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("engine", ["fsdp", "megatron"])
def test_verl_takes_each_algorithm_on_each_engine(algo, engine):
    """verl's own checks of the configuration, in one process: it is imported once."""
    groups = [f"algo={algo}", f"training={engine}", f"model_engine={'dp' if engine == 'fsdp' else 'megatron'}"]
    found = load(FOLDER / "config", "math", ["setup=qwen3_4b_dapo", *groups])
    gpo_settings(found)
    assert verl_refuses(found.config) is None
    assert found.get("actor_rollout_ref.actor.strategy") == ("fsdp2" if engine == "fsdp" else "megatron")


@pytest.mark.parametrize("setup", SETUPS)
def test_verl_takes_each_setup(setup):
    overrides = [f"setup={setup}", "algo=ppo", "actor_rollout_ref.rollout.name=sglang"]
    assert verl_refuses(load(FOLDER / "config", "math", overrides).config) is None


def test_lora_reaches_megatron_under_its_own_name():
    groups = ["setup=r1_distill_qwen_7b", "algo=ppo", "training=megatron", "model_engine=megatron"]
    found = load(FOLDER / "config", "math", groups)
    assert found.get("actor_rollout_ref.model.lora.rank") == found.get("actor_rollout_ref.model.lora_rank") == 64
    assert found.get("critic.model.lora.rank") == 0


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("search", ["uniform", "random"])
def test_each_plan_is_printed(capsys, setup, search):
    folder = ["--config-path", str(FOLDER / "config"), "--config-name", "math", "--quick"]
    assert main([*folder, f"setup={setup}", f"algorithm.gpo.search={search}"]) == 0
    said = capsys.readouterr().out
    assert "optimizer steps, actor" in said and "peak while training" in said and "does not fit" not in said


def twins_table():
    """What the plan says of each setup's training step, as the README shows it."""
    lines = ["| setup | plain, same batch: tokens | GPO: tokens | plain twin: `n` | random twin: `n` |"]
    lines.append("|---|---:|---:|---:|---:|")
    for setup in SETUPS:
        found = load(FOLDER / "config", "math", [f"setup={setup}"])
        gpo, expected = gpo_settings(found), expectation(found)
        plain, own = (workload(found, settings, expected) for settings in (method_settings(gpo, "plain"), gpo))
        sizes = [twin(found, gpo, method).workload.n for method in TWINS]
        lines.append(f"| `{setup}` | {plain.tokens:,.0f} | {own.tokens:,.0f} | {sizes[0]} | {sizes[1]} |")
    return "\n".join(lines)


def test_the_readme_states_what_the_plan_says():
    assert twins_table() in (FOLDER / "README.md").read_text()


def test_the_launcher_hands_over_what_it_is_told(launched):
    result, calls = launched(
        "algorithm.gpo.n_mc=8",
        MODEL="/models/mine",
        DATA_DIR="/data",
        N_GPUS="4",
        NNODES="2",
        BACKEND="sglang",
        ENGINE="megatron",
        PRESET="fast",
    )
    assert result.returncode == 0, result.stderr
    found = configuration(calls[-1][1])
    expected = {
        "actor_rollout_ref.model.path": "/models/mine",
        "critic.model.path": "/models/mine",
        "data.train_files": "/data/gsm8k/train.parquet",
        "trainer.n_gpus_per_node": 4,
        "trainer.nnodes": 2,
        "actor_rollout_ref.rollout.name": "sglang",
        "actor_rollout_ref.actor.strategy": "megatron",
        "algorithm.gpo.preset": "fast",
        "algorithm.gpo.n_mc": 8,
    }
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    "path",
    ["/ckpt/step=100/hf", "/a folder/x,y", "/a/[b]/{c}", "/it's", "/back\\slash", "/a:b#c", "/dollar$x", "/end\\"],
)
def test_a_path_arrives_as_it_was_written(launched, path):
    result, calls = launched(MODEL=path, DATA_DIR=f"{path}/data")
    assert result.returncode == 0, result.stderr
    found = configuration(calls[-1][1])
    assert found.get("actor_rollout_ref.model.path") == found.get("critic.model.path") == path
    assert found.get("data.train_files") == f"{path}/data/gsm8k/train.parquet"


def test_a_pattern_arrives_as_it_was_written(launched):
    pattern = r"(?<=[.!?])\s+|\n\n(?=Step \d+:)"
    given = f"algorithm.gpo.splitter_option='{pattern}'"
    _, calls = launched("algorithm.gpo.splitter=regex", given)
    assert gpo_settings(configuration(calls[-1][1])).splitter_option == pattern


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("N_GPUS", "0", "must be an integer of at least 1"),
        ("NNODES", "1.5", "must be an integer of at least 1"),
        ("PYTHON", "/nowhere/python", "no such program"),
    ],
)
def test_what_cannot_be_is_refused_by_name(launched, name, value, said):
    result, calls = launched(**{name: value})
    assert result.returncode == 2 and not calls and result.stderr == f"{name}={value}: {said}\n"


def test_a_dry_run_plans_the_very_arguments(launched):
    dry, wet = (launched("data.seed=1", DRY_RUN=value, METHOD="plain")[1] for value in ("1", "0"))
    assert dry[-1] == ["verl_gpo.plan", wet[-1][1]]
    assert dry[0] == wet[0] and "--twin" in dry[0][1]


def test_a_twin_can_be_left_as_it_is_or_matched_to_a_run(launched):
    _, calls = launched(METHOD="random", MATCH="none")
    assert [module for module, _ in calls] == ["verl.trainer.main_ppo"]
    _, calls = launched(METHOD="random", MATCH="prompts", MEASURED="gpo/metrics.jsonl")
    assert "--match prompts --measured gpo/metrics.jsonl" in " ".join(calls[0][1])


@pytest.mark.parametrize("name", ["SETUP", "METHOD", "ALGO", "BACKEND", "ENGINE", "MATCH"])
def test_a_choice_that_is_none_is_refused_by_name(launched, name):
    result, calls = launched(**{name: "nothing"})
    assert result.returncode == 2 and not calls
    assert f"{name}=nothing: must be one of " in result.stderr


def test_a_typo_is_refused_before_ray_starts(tmp_path):
    """The real entry point of verl: it must not come to ``ray.init``."""
    environment = {**os.environ, "PYTHON": sys.executable, "OUT_DIR": str(tmp_path), "RAY_TMPDIR": f"{tmp_path}/ray"}
    command = ["bash", str(SCRIPT), "+actor_rollout_ref.rollout.enfroce_eager=true"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert result.returncode != 0 and "did you mean enforce_eager?" in result.stderr, result.stderr[-2000:]
    assert not (tmp_path / "ray").exists()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_no_complaint():
    scripts = sorted(str(path) for folder in ("recipes", "scripts") for path in (REPOSITORY / folder).rglob("*.sh"))
    command = ["shellcheck", "--external-sources", *scripts, str(REPOSITORY / ".ci" / "run")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert result.returncode == 0, result.stdout
