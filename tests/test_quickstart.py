"""The quickstart's order of commands and what each gets; Python is a stand-in. It runs for real in ``tests/e2e``."""

import os
import shutil
import subprocess

import pytest

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
