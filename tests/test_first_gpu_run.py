"""The first run on a GPU: what it starts and refuses, its time limit, and the figures that it leaves."""

import json
import os
import shlex
import subprocess
import sys
import time

import pytest

from scripts import first_gpu_run
from scripts.first_gpu_figures import figures, memory, run_figures
from scripts.first_gpu_run import Phases, main
from tests.conftest import REPOSITORY

GIB = 2**30


def metrics(folder, *steps):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": number, "data": data}) for number, data in enumerate(steps)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "metrics.jsonl"


def step(**values):
    """A training step's metrics; ``seconds`` of it and of its rollout, tokens of roots, values and re-entry."""
    given = {"seconds": 10.0, "rollout": 4.0, "root": 100, "value": 60, "reentry": 40, "difference": 0.1, **values}
    return {
        "timing_s/step": given["seconds"],
        "timing_s/gen": given["rollout"],
        "timing_s/update_actor": 2.0,
        "gpo/tokens/root": given["root"],
        "gpo/tokens/value": given["value"],
        "gpo/tokens/reentry": given["reentry"],
        "training/rollout_probs_diff_mean": given["difference"],
        "actor/perf/max_memory_allocated_gb": given.get("memory", 3.0),
    }


# ------------------------------------------------------------------------------------------------------------ figures


def test_the_first_step_is_left_out_of_the_means(tmp_path):
    path = metrics(
        tmp_path,
        {"val-core/acc": 0.5},  # a validation is no training step
        step(seconds=100.0, rollout=80.0, difference=0.9),
        step(seconds=10.0, rollout=4.0, difference=0.2),
        step(seconds=20.0, rollout=6.0, root=300, difference=0.3),
    )
    (tmp_path / "metrics.phases.json").write_text('{"starting Ray": 5.0}')
    found = run_figures(path)
    assert found["training steps"] == 3
    assert found["seconds of a step"] == {"step": 15.0, "rollout": 5.0, "update": 2.0}
    assert found["generated tokens of a step"] == (200 + 400) / 2
    assert found["generated tokens a second, rollout phase"] == (200 + 400) / (4 + 6)
    assert found["agreement"]["mean difference of probabilities"] == 0.3
    assert found["seconds of the start, by phase (from the start on)"] == {"starting Ray": 5.0}


def test_a_single_step_is_all_there_is(tmp_path):
    assert run_figures(metrics(tmp_path, step(seconds=7.0)))["seconds of a step"]["step"] == 7.0


def test_a_run_that_left_nothing_has_no_figures(tmp_path):
    assert run_figures(tmp_path / "metrics.jsonl") == {}


def test_memory_against_the_plan(tmp_path):
    plan = {"states": 5 * GIB, "gradients": 2 * GIB, "gathered": GIB, "activations": GIB, "logits": 4 * GIB}
    plan |= {"rollout": 40 * GIB, "engine_weights": GIB, "kv_tokens": 9}
    metrics(tmp_path / "gpo", step(memory=11.5), step(memory=12.5))
    metrics(tmp_path / "plain", step(memory=12.0))
    (tmp_path / "gpu-memory").write_text("1024\n47104\n2048\n")
    assert memory(tmp_path, plan) == {
        "planned, training": 13.0,
        "measured, the actor's process": 12.5,
        "planned, sampling": 45.0,
        "measured, the whole GPU": 46.0,
    }


def test_what_was_not_measured_is_none(tmp_path):
    (tmp_path / "doctor.json").write_text('{"findings": [')  # ended half way
    found = figures(tmp_path, {"doctor": {"seconds": 3.0, "status": None}})
    assert found["phases"] == {"doctor": {"seconds": 3.0, "status": None}}
    assert found["runs"] == {"gpo": {}, "plain": {}} and found["doctor"] == {}
    assert set(found["memory, GiB"].values()) == {None}
    assert found["versions"]["verl"] == "0.9.1"


# ------------------------------------------------------------------------------------------------------------- limits


def test_a_phase_that_takes_too_long_is_ended_with_its_children_and_later_ones_do_not_start(tmp_path):
    file = tmp_path / "late"
    phases = Phases(limit=3.0, spent=1.0)
    start = time.monotonic()
    assert not phases.run("long", ["bash", "-c", f"(sleep 5; touch {file}) & wait"])
    assert time.monotonic() - start < 4 and phases.taken["long"]["status"] is None
    assert not phases.run("later", ["touch", str(file)])
    assert phases.taken["later"]["status"] is None
    time.sleep(3.5)
    assert not file.exists()


def test_a_phase_has_its_status_output_and_environment(tmp_path):
    phases = Phases(limit=60.0)
    assert phases.run("well", ["bash", "-c", "echo $WORD"], tmp_path / "out", WORD="said")
    assert (tmp_path / "out").read_text() == "said\n"
    assert not phases.run("badly", ["bash", "-c", "exit 3"])
    assert [entry["status"] for entry in phases.taken.values()] == [0, 3]


# ------------------------------------------------------------------------------------------------------ what it starts


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What the phases would start, by name; each of them leaves what the real one would."""
    commands = {}

    def run(self, name, command, output=None, **environment):
        commands[name] = (command, environment)
        self.taken[name] = {"seconds": 1.0, "status": 0}
        if output:
            output.write_text('{"memory": null, "findings": []}')
        else:
            metrics(tmp_path / name, step())
        return True

    monkeypatch.setattr(Phases, "run", run)
    monkeypatch.setattr(first_gpu_run, "_watch_memory", lambda path: None)
    return commands


@pytest.fixture
def folder(tmp_path):
    """Model and data, as far as they are looked for."""
    place = tmp_path / "with"
    for path in (f"{first_gpu_run.MODEL}/config.json", "gsm8k/train.parquet"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text("")
    return place


def test_doctor_gpo_and_a_twin_at_equal_tokens(started, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(first_gpu_run, "accelerator_present", lambda: True)
    assert main(["--folder", str(folder), "--out", str(tmp_path), "--spent", "20"]) == 0
    assert list(started) == ["doctor", "gpo", "plain", "plan"]
    assert started["doctor"][0][1:] == ["-m", "verl_gpo.doctor", "--run", "--json"]
    for method in ("gpo", "plain"):
        command, environment = started[method]
        assert "recipes/math/run.sh" in command and "trainer.total_training_steps=3" in command
        assert environment["METHOD"] == method and environment["OUT_DIR"] == f"{tmp_path}/{method}"
        assert environment["MODEL"] == f"{folder}/{first_gpu_run.MODEL}" and environment["DATA_DIR"] == str(folder)
        assert environment["HF_HUB_OFFLINE"] == "1"
    assert started["plain"][1]["MEASURED"] == f"{tmp_path}/gpo/metrics.jsonl"
    assert "MEASURED" not in started["gpo"][1]
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["phases"]["environment"] == {"seconds": 20.0, "status": 0}
    assert written["runs"]["gpo"]["generated tokens of a step"] == 200


def test_a_machine_that_the_doctor_refuses_trains_nothing(monkeypatch, tmp_path):
    def run(self, name, command, output=None, **environment):
        self.taken[name] = {"seconds": 1.0, "status": 1}
        output.write_text('{"findings": [{"name": "torch", "state": "WRONG", "found": "sees no GPU", "remedy": ""}]}')
        return False

    monkeypatch.setattr(Phases, "run", run)
    assert main(["--toy", "--out", str(tmp_path)]) == 1
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["doctor"] == {"torch": "WRONG: sees no GPU"}
    assert set(written["phases"]) == {"environment", "doctor"}


@pytest.mark.parametrize(
    ("remove", "said"),
    [("gsm8k/train.parquet", "has no gsm8k/train.parquet"), ("Qwen2.5-0.5B-Instruct/config.json", "has no Qwen2.5")],
)
def test_what_is_missing_is_named(folder, capsys, remove, said):
    (folder / remove).unlink()
    assert main(["--folder", str(folder)]) == 2
    assert f"FOLDER={folder}: {said}" in capsys.readouterr().err


def test_without_folder_or_gpu_it_says_what_to_do(folder, capsys, monkeypatch):
    assert main([]) == 2
    assert "FOLDER: must be set" in capsys.readouterr().err
    monkeypatch.setattr(first_gpu_run, "accelerator_present", lambda: False)
    assert main(["--folder", str(folder)]) == 2
    assert "no accelerator on this machine; --toy" in capsys.readouterr().err


def test_the_toy_trains_the_arithmetic_task(started, tmp_path):
    assert main(["--toy", "--out", str(tmp_path)]) == 0
    assert "recipes/arithmetic/run.sh" in started["gpo"][0] and "MEASURED" not in started["plain"][1]
    assert "recipes/arithmetic/config" in started["plan"][0] and started["plan"][0][-1] == "--json"


def test_a_dry_run_prints_commands_and_plan_and_starts_nothing(tmp_path):
    environment = {**os.environ, "VENV": str(tmp_path / "none"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    script = ["bash", "scripts/first_gpu_run.sh", "--dry-run", "--out", str(tmp_path / "out")]
    result = subprocess.run(script, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=600)
    assert result.returncode == 0, result.stderr
    for said in ("verl_gpo.doctor --run", "METHOD=gpo", "METHOD=plain", "optimizer steps, actor"):
        assert said in result.stdout
    assert not (tmp_path / "out").exists() and not (tmp_path / "none").exists()
