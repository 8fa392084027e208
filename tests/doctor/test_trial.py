"""Two training steps: what is started, how rollout and actor are compared, and what a run that fails says."""

import json
import sys

import pytest
from hydra import compose, initialize_config_module

from verl_gpo.doctor import trial
from verl_gpo.doctor.__main__ import main
from verl_gpo.doctor.finding import OK, WRONG

DIFFERENCE, CORRELATION = "training/rollout_probs_diff_mean", "training/rollout_actor_probs_pearson_corr"
GOOD = {DIFFERENCE: 1e-6, CORRELATION: 0.99999, "timing_s/step": 3.0, "gpo/prompts/reentered": 5}

# Stands in for the training: writes metrics where verl's file logger would.
TRAINING = """
import json, os, sys
steps = {steps!r}
with open(os.environ["VERL_FILE_LOGGER_PATH"], "w") as file:
    for step, data in enumerate(steps, 1):
        print(json.dumps(dict(step=step, data=data)), file=file)
print({said!r})
sys.exit({status})
"""


@pytest.fixture
def training(monkeypatch, tmp_path):
    """A training that leaves these metrics, says this and ends so."""

    def stand_in(*steps, said="done", status=0):
        program = TRAINING.format(steps=list(steps), said=said, status=status)
        monkeypatch.setattr(trial, "command", lambda folder, gpus: [sys.executable, "-c", program])
        monkeypatch.setattr(trial, "ask", lambda program: 1)
        monkeypatch.setattr(trial, "cpu_platform_wanted", lambda: True)
        monkeypatch.setattr(trial.tempfile, "mkdtemp", lambda prefix: str(tmp_path))

    return stand_in


def test_a_run_that_ends_well(training):
    training({}, GOOD)
    lines, metrics = trial.trial()
    assert [(line.name, line.state) for line in lines] == [
        ("two training steps", OK),
        ("rollout and actor", OK),
        ("re-entry", OK),
    ]
    assert "the second took 3.0 s" in lines[0].found and lines[2].found == "5 of 8 prompts re-entered"
    assert metrics == GOOD


def test_weights_that_do_not_arrive(training):
    training({}, {**GOOD, DIFFERENCE: 0.14, CORRELATION: 0.7})
    lines, _ = trial.trial()
    assert lines[1].state == WRONG and "differ by 0.14 (mean), correlation 0.700000" in lines[1].found


def test_a_run_that_fails_says_the_error_and_where_the_log_is(training, tmp_path):
    training({}, said="ValueError: no kernel image\nmore words", status=1)
    lines, metrics = trial.trial()
    assert len(lines) == 1 and metrics == {}
    assert lines[0].state == WRONG and "ValueError: no kernel image" in lines[0].found
    assert lines[0].remedy == f"the whole log: {tmp_path}/log"


def test_a_run_that_stops_after_a_step_has_failed(training):
    training({})
    assert [line.state for line in trial.trial()[0]] == [WRONG]


def test_a_run_that_hangs_is_ended(training, monkeypatch):
    training({}, GOOD)
    monkeypatch.setattr(trial, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(trial, "LIMIT", 0.5)
    lines, _ = trial.trial()
    assert [line.state for line in lines] == [WRONG] and "no end within 0 s" in lines[0].found


def test_re_entry_that_failed_is_a_line(training):
    training({}, {**GOOD, "gpo/prompts/failed": 2})
    assert trial.trial()[0][2].found == "failed for 2 prompts"


@pytest.mark.parametrize(
    ("where", "difference", "correlation", "state"),
    [
        ("cpu", 1e-4, 0.9999, OK),
        ("cpu", 2e-4, 1.0, WRONG),
        ("cpu", 0.0, 0.99, WRONG),
        ("gpu", 0.01, 0.99, OK),
        ("gpu", 0.04, 0.99, WRONG),
        ("gpu", 0.01, 0.97, WRONG),
        ("gpu", float("nan"), 0.99, WRONG),
    ],
)
def test_the_comparison_by_hand(where, difference, correlation, state):
    assert trial.compare({DIFFERENCE: difference, CORRELATION: correlation}, where).state == state


def test_metrics_without_the_comparison_are_told():
    found = trial.compare({}, "cpu")
    assert found.state == WRONG and DIFFERENCE in found.found


def test_the_exit_code_and_the_json_have_the_trial(training, capsys):
    training({}, {**GOOD, CORRELATION: 0.5})
    assert main(["--only", "python", "--run", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [item["state"] for item in printed["findings"]] == [OK, OK, WRONG, OK]
    assert printed["metrics"][CORRELATION] == 0.5


@pytest.mark.parametrize("gpus", [1, 8])
def test_verl_takes_the_configuration(tmp_path, gpus):
    from verl_gpo.doctor import tiny
    from verl_gpo.plugin.checks.validate import check, check_known

    tiny.write(tmp_path, 2)
    arguments = trial.command(tmp_path, gpus)
    overrides = arguments[arguments.index("--config-name") + 2 :]
    with initialize_config_module("verl_gpo.trainer.config", version_base=None):
        config = compose("gpo_trainer", overrides=overrides)
    check_known(config)
    assert check(config).enable
    assert config.data.train_batch_size == 8 * gpus == config.actor_rollout_ref.actor.ppo_mini_batch_size
    assert config.trainer.n_gpus_per_node == gpus
    # One step after the update, so that its weights are compared.
    assert config.trainer.total_training_steps == 2
