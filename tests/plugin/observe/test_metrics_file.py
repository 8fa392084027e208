"""verl's metrics file goes on where it was; a file that nobody named is verl's own business."""

import json

import pytest
from verl.utils import tracking

from verl_gpo.plugin.observe import metrics_file
from verl_gpo.traces.runlog import RunLog


@pytest.fixture
def named(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv(metrics_file.PATH, str(path))
    monkeypatch.setattr(tracking, "FileLogger", tracking.FileLogger)
    metrics_file.install()
    return path


def train(*steps):
    """A training that logs these steps, by verl's own way to its loggers."""
    logger = tracking.Tracking("project", "experiment", ["file"])
    for step, data in steps:
        logger.log(data, step=step)
    logger.finish()


def test_a_resumed_training_adds_to_what_is_there(named, capsys):
    train((0, {"val-core/a/acc/mean@1": 0.2}), (1, {"loss": 1.0}), (2, {"loss": 2.0}), (3, {"loss": 3.0}))
    assert "metrics are appended" not in capsys.readouterr().out
    # It goes on from the checkpoint of step 1, where it validates first.
    train((1, {"val-core/a/acc/mean@1": 0.4}), (2, {"loss": 2.5}))
    assert f"verl_gpo: metrics are appended to {named}" in capsys.readouterr().out
    assert [json.loads(line)["step"] for line in named.read_text().splitlines()] == [0, 1, 2, 3, 1, 2]
    log = RunLog.read(named)
    assert log.series("loss") == {1: 1.0, 2: 2.5}
    assert log.validation() == {0: 0.2, 1: 0.4}


def test_half_a_line_is_left_out(named):
    train((1, {"loss": 1.0}))
    with named.open("a") as file:
        file.write('{"step":2,"da')
    train((2, {"loss": 2.0}))
    assert RunLog.read(named).series("loss") == {1: 1.0, 2: 2.0}


def test_the_variable_is_as_it_was(named, monkeypatch):
    train((1, {}))
    train((2, {}))
    assert metrics_file.os.environ[metrics_file.PATH] == str(named)


def test_a_second_installation_changes_nothing(named):
    installed = tracking.FileLogger
    metrics_file.install()
    assert tracking.FileLogger is installed


def test_a_file_that_nobody_named_is_verls_own(named, monkeypatch, tmp_path):
    monkeypatch.delenv(metrics_file.PATH)
    monkeypatch.setenv("VERL_FILE_LOGGER_ROOT", str(tmp_path))
    for step in (1, 2):
        train((step, {}))
    assert len((tmp_path / "project" / "experiment.jsonl").read_text().splitlines()) == 1
