"""The quickstart: its order of commands, with a stand-in for Python; and the whole script, without the two trainings.

The trainings are calls of ``recipes/arithmetic/run.sh``, which ``tests/e2e`` runs.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from recipes.arithmetic.prepare import FORMAT_VERSION
from recipes.arithmetic.task import ArithmeticSpec
from recipes.prepared import cache_key
from tests.conftest import REPOSITORY

# Stands in for Python: makes environments that hold itself, and writes down METHOD, OUT_DIR and what it is asked for.
PYTHON = """#!/bin/bash
case "$1 $2" in
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-c "* | "--version ") ;;
"-m pip" | "-m uv") ;;
*) echo "${METHOD:-} ${OUT_DIR:-} $*" >>"$LOG"; [ "${FAIL:-none}" != "${METHOD:-}" ] || exit 3 ;;
esac
"""


@pytest.fixture
def quickstart(tmp_path):
    """Run the quickstart of a copy of the repository: ``quickstart(*arguments, **environment)``."""
    root, log, python = tmp_path / "repository", tmp_path / "log", tmp_path / "bin" / "python3.12"
    (root / "scripts").mkdir(parents=True)
    for name in ("install.sh", "quickstart.sh", "overrides-cpu.txt", "lock-cpu.txt"):
        shutil.copy(REPOSITORY / "scripts" / name, root / "scripts" / name)
    shutil.copy(REPOSITORY / "setup.py", root)
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(*arguments, **environment):
        log.unlink(missing_ok=True)
        given = {"PATH": f"{python.parent}:{os.environ['PATH']}", "LOG": str(log), "KIND": "cpu", **environment}
        command = ["bash", root / "scripts" / "quickstart.sh", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=given, timeout=60)
        lines = log.read_text().replace(f"{root}/", "").splitlines() if log.exists() else []
        return result, lines

    return run


def test_gpo_then_its_twin_then_both_side_by_side(quickstart):
    result, lines = quickstart("algorithm.gpo.preset=fast")
    assert result.returncode == 0, result.stderr
    prepare, gpo, twin, summary, report = lines
    assert prepare.endswith("-m recipes.arithmetic.prepare --out outputs/arithmetic/data")
    for line, method, folder in ((gpo, "gpo", "gpo"), (twin, "plain", "grpo")):
        assert line.startswith(f"{method} outputs/quickstart/{folder} -m verl_gpo.report.live ")
        assert "--steps 16 -- bash recipes/arithmetic/run.sh trainer.total_training_steps=16 " in line
        assert line.endswith(" algorithm.gpo.preset=fast")
    assert "algorithm.gpo.trace_dir=outputs/quickstart/gpo/traces" in gpo and "trace_dir" not in twin
    both = "GPO=outputs/quickstart/gpo GRPO=outputs/quickstart/grpo"
    assert summary.endswith(f"-m verl_gpo.report.summary {both} --plot outputs/quickstart/curve.png")
    assert f"--traces outputs/quickstart/gpo/traces --runs {both} --out outputs/quickstart/report.html" in report


def test_without_the_twin(quickstart):
    result, lines = quickstart("--no-twin", STEPS="2")
    assert result.returncode == 0, result.stderr
    assert len(lines) == 4 and "--steps 2 " in lines[1]
    assert not any("GRPO" in line or "plain" in line for line in lines)


def test_a_training_that_fails_ends_it_with_the_step_that_failed(quickstart):
    result, lines = quickstart(FAIL="plain")
    assert result.returncode != 0 and len(lines) == 3
    assert "failed: its twin, stock GRPO" in result.stderr


# ------------------------------------------------------------------------------- the whole script, with this Python

# In the place of the trainer: leaves the metrics of a committed run, and traces if it is asked for them.
TRAINING = """
import os, shutil, sys
from tests.report.arithmetic import records
from verl_gpo.traces.writer import TraceWriter

given = dict(argument.split("=", 1) for argument in sys.argv if "=" in argument)
method = "gpo" if given["algorithm.adv_estimator"] == "gpo" else "grpo"
shutil.copy(f"recipes/arithmetic/results/{method}/metrics.jsonl", os.environ["VERL_FILE_LOGGER_PATH"])
if "algorithm.gpo.trace_dir" in given:
    writer = TraceWriter(given["algorithm.gpo.trace_dir"], "w")
    for record in records(4):
        writer.write(record)
    writer.close()
"""


@pytest.fixture
def environment(tmp_path):
    """An environment that counts as installed and is this one, data that count as prepared, and no training."""
    files = "setup.py scripts/overrides-cpu.txt scripts/lock-cpu.txt"
    sums = subprocess.run(["bash", "-c", f"cat {files} | cksum"], capture_output=True, text=True, cwd=REPOSITORY)
    python, data, training = tmp_path / "venv" / "bin" / "python", tmp_path / "data", tmp_path / "training.py"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "venv" / ".verl_gpo").write_text(f"cpu {sums.stdout}")
    data.mkdir()
    request = {"format": FORMAT_VERSION, "spec": ArithmeticSpec().to_dict(), "train": 2048, "eval": 256, "seed": 0}
    request |= {"target": [0.3, 0.6], "steps": None}
    measured = {"accuracy": 0.45}
    card = {"key": cache_key(request), "sampled": measured, "greedy": measured}
    (data / "card.json").write_text(json.dumps(card))
    training.write_text(TRAINING)
    paths = {"VENV": tmp_path / "venv", "DATA_DIR": data, "OUT_DIR": tmp_path / "out", "MAIN": training}
    paths["PYTHONPATH"] = REPOSITORY
    return {**os.environ, "KIND": "cpu", **{name: str(path) for name, path in paths.items()}}


def test_the_whole_script_shows_both_runs(environment, tmp_path):
    command = ["bash", REPOSITORY / "scripts" / "quickstart.sh"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "as installed before" in result.stdout and "already prepared" in result.stdout
    assert "critical steps found" in result.stdout and "tokens, Monte Carlo values" in result.stdout
    out = tmp_path / "out"
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert f"{out}/report.html: 4 of 4 traces, 2 runs" in result.stdout
    assert (out / "report.html").stat().st_size > 100_000
