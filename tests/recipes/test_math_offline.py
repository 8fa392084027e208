"""The offline recipe: both command lines of each loss and method pass their own checks, without data or model."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("trl")
from verl_gpo.plan.offline import main  # noqa: E402  (it asks for TRL)

SCRIPT = REPOSITORY / "recipes" / "math" / "offline.sh"
ALGOS, METHODS = ("dpo", "kto", "simpo", "orpo"), ("gpo", "random", "plain")
RECORDER = """#!{python}
import json, sys
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def launched(tmp_path):
    """What the script asks Python to run: ``launched(*arguments, **environment)`` gives the result and the calls."""

    def run(*arguments, **environment):
        python = tmp_path / "python"
        python.write_text(RECORDER.format(python=sys.executable))
        python.chmod(0o755)
        given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": str(python), **environment}
        command = ["bash", str(SCRIPT), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=given, timeout=300)
        return result, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("[")]

    return run


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("method", METHODS)
def test_a_dry_run_passes_the_commands_own_checks(launched, capsys, algo, method):
    result, calls = launched(ALGO=algo, METHOD=method, DRY_RUN="1")
    assert result.returncode == 0 and calls[0][:2] == ["-m", "verl_gpo.plan.offline"], result.stderr
    assert main(calls[0][2:]) == 0
    said = " ".join(capsys.readouterr().out.split())  # a long path is folded, and what follows it
    assert f"{algo}, LoRA of rank 64" in said and "7,615,616,512 parameters" in said and "(not here)" in said
    # 8 whole responses of 2,500 tokens; 28 continuations and 4 rollouts of half of it.
    tokens = {"gpo": 20_000 + 35_000 + 5_000, "random": 20_000 + 5_000, "plain": 20_000}[method]
    assert f"{tokens:,} (whole responses 20,000" in said
    assert f"100,000,000: {100_000_000 / tokens:,.0f} prompts" in said


def test_it_builds_and_then_trains_with_the_same_pairs(launched):
    result, calls = launched("beta=0.3", ALGO="kto", METHOD="random", N_GPUS="4", DATA_DIR="/data", TOKENS="1000")
    assert result.returncode == 0, result.stderr
    checked, build, train = calls
    assert checked[:2] == ["-m", "verl_gpo.plan.offline"]  # before anything is drawn
    assert build[:2] == ["-m", "verl_gpo.offline.build"]
    assert train[:5] == ["-m", "accelerate.commands.launch", "--num_processes", "4", "-m"]
    assert train[5] == "verl_gpo.offline.train" and train[-1] == "beta=0.3" and "gradient_accumulation_steps=8" in train
    folder = build[build.index("--out") + 1]
    assert train[train.index("--pairs") + 1] == folder and folder.endswith("math-random-0")
    assert build[build.index("--data") + 1] == "/data/math/train.parquet"
    assert build[build.index("--token-budget") + 1] == "1000"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["learnin_rate=1"], {}, "learnin_rate=1: no such key; did you mean learning_rate?"),
        ([], {"GPO": "n_mcc=3"}, "algorithm.gpo.n_mcc=3: no such key; did you mean n_mc?"),
        (
            ["per_device_train_batch_size=1"],
            {"ALGO": "kto"},
            "per_device_train_batch_size=1: KTO needs at least 2",
        ),
        (["resume_from_checkpoint=true"], {}, "resume_from_checkpoint=true: --out="),
        (
            ["resume_from_checkpoint=/nowhere"],
            {},
            "resume_from_checkpoint=/nowhere: no trainer_state.json there; give true, or a folder checkpoint-N",
        ),
        ([], {"GPO": "n_mc=[1"}, "algorithm.gpo.n_mc='[1': must be an integer of at least 1"),
    ],
)
def test_a_typo_is_refused_in_the_dry_run(launched, capsys, arguments, environment, said):
    _, calls = launched(*arguments, DRY_RUN="1", **environment)
    assert main(calls[0][2:]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"verl_gpo: {said}")


def test_kto_has_other_prompts_beside_each(launched):
    for algo, sizes in (("kto", ["2", "4"]), ("dpo", ["1", "8"])):
        _, calls = launched(ALGO=algo)
        given = dict(item.split("=", 1) for item in calls[-1] if "=" in item)
        assert [given["per_device_train_batch_size"], given["gradient_accumulation_steps"]] == sizes


def test_a_pattern_reaches_the_build_as_it_was_written(launched):
    from verl_gpo.offline import build_settings

    pattern = r"(?<=[.!?]) |\n\n"
    _, calls = launched(GPO=f"splitter=regex splitter_option='{pattern}' max_steps=8")
    build = next(call for call in calls if call[1] == "verl_gpo.offline.build")
    assert f"splitter_option={pattern}" in build
    assert build_settings._config(build_settings.parse_args(build[2:]))[1].splitter_option == pattern


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("N_GPUS", "0", "must be an integer of at least 1"),
        ("TOKENS", "1e8", "must be an integer of at least 1"),
        ("TOKENS", "0", "must be an integer of at least 1"),
        ("SEED", "one", "must be an integer of at least 1"),
        ("GPO", "splitter_option='x", "a quote is not closed"),
        ("PYTHON", "/nowhere/python", "no such program"),
    ],
)
def test_what_cannot_be_is_refused_by_name(launched, name, value, said):
    result, calls = launched(**{name: value})
    assert result.returncode == 2 and not calls and result.stderr == f"{name}={value}: {said}\n"


#: Runs the check, and writes down all else.
CHECKER = """#!{python}
import json, os, sys
if sys.argv[2] == "verl_gpo.plan.offline":
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
print(json.dumps(sys.argv[1:]))
"""


@pytest.mark.parametrize("dry_run", ["0", "1"])
def test_what_trl_refuses_is_refused_before_the_build(launched, monkeypatch, dry_run):
    monkeypatch.setattr(sys.modules[__name__], "RECORDER", CHECKER)
    environment = {"ALGO": "kto", "DRY_RUN": dry_run, "PYTHONPATH": str(REPOSITORY)}
    result, calls = launched("per_device_train_batch_size=1", **environment)
    assert result.returncode == 1 and calls == []
    said = [line for line in result.stderr.splitlines() if not line.startswith("+")]
    assert len(said) == 1 and said[0].startswith("verl_gpo: per_device_train_batch_size=1: KTO needs at least 2")


def test_a_run_begins_with_the_check_and_goes_on(launched, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "RECORDER", CHECKER)
    result, calls = launched(ALGO="kto", N_GPUS="1", PYTHONPATH=str(REPOSITORY))
    assert result.returncode == 0, result.stderr
    assert [call[1] for call in calls] == ["verl_gpo.offline.build", "verl_gpo.offline.train"]
    assert "per_device_train_batch_size=2" in calls[1]


@pytest.mark.parametrize("name", ["ALGO", "METHOD"])
def test_a_choice_that_is_none_is_refused_by_name(launched, name):
    result, calls = launched(**{name: "nothing"})
    assert result.returncode == 2 and not calls and f"{name}=nothing: must be one of " in result.stderr
