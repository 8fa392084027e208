"""The README's first command, with one training step and without the twin, which is the same script once more."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY, read_metrics
from verl_gpo.traces.reader import count_traces

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]


@pytest.fixture
def environment(tmp_path):
    """An environment that counts as installed, and is this one: nothing is installed by the test."""
    kind = "cpu"
    files = "setup.py scripts/overrides-cpu.txt scripts/lock-cpu.txt"
    sums = subprocess.run(["bash", "-c", f"cat {files} | cksum"], capture_output=True, text=True, cwd=REPOSITORY)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "venv" / ".verl_gpo").write_text(f"{kind} {sums.stdout}")
    return {**os.environ, "VENV": str(tmp_path / "venv"), "KIND": kind}


def test_the_quickstart_trains_and_shows_its_run(environment, arithmetic_data, tmp_path):
    out = tmp_path / "quickstart"
    environment |= {"DATA_DIR": str(arithmetic_data), "OUT_DIR": str(out), "STEPS": "1"}
    small = ["data.train_batch_size=4", "actor_rollout_ref.actor.ppo_mini_batch_size=4", "data.val_max_samples=8"]
    command = ["bash", REPOSITORY / "scripts" / "quickstart.sh", "--no-twin", *small]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=420)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "as installed before" in result.stdout  # otherwise the test would have installed something
    metrics = read_metrics(out / "gpo" / "metrics.jsonl")
    assert metrics[1]["gpo/tokens/value"] > 0 and metrics[1]["actor/grad_norm"] > 0
    assert count_traces(out / "gpo" / "traces") == 4
    assert "critical steps found" in result.stdout
    assert (out / "report.html").stat().st_size > 100_000 and (out / "curve.png").stat().st_size > 1000
