"""The doctor on the machine that the tests run on: nothing is wrong, and the tiny model trains."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]


def test_nothing_is_wrong_here_and_two_steps_train(tmp_path):
    command = [sys.executable, "-m", "verl_gpo.doctor", "--run", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    printed = json.loads(result.stdout)
    found = {item["name"]: item for item in printed["findings"]}
    assert {"torch", "vLLM", "verl", "plugin", "Ray", "versions", "two training steps", "rollout and actor"} <= set(
        found
    )
    assert "GPO is registered" in found["plugin"]["found"]
    assert printed["metrics"]["training/rollout_actor_probs_pearson_corr"] > 0.98
    # The weights have moved, so that the agreement is of those that were sent to the engine.
    assert printed["metrics"]["actor/grad_norm"] > 0
    assert printed["metrics"]["gpo/rows"] > 0
