"""verl's metrics file goes on where it was; a file that nobody named is verl's own business."""

import errno
import io
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


def file_of(capacity):
    """A raw file on a disk with room for a given number of bytes."""

    class Small(io.FileIO):
        room = capacity

        def write(self, data):
            left = self.room - self.seek(0, io.SEEK_END)
            if not left:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(bytes(data)[:left])

    return Small


def test_a_full_disk_costs_no_line_and_leaves_no_half_one(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    raw = file_of(10)(path, "wb")
    lines = metrics_file.WholeLines(raw)
    for line in (b"first\n", b"second\n", b"third\n"):
        assert lines.write(line) == len(line)
    assert path.read_bytes() == b"first\n"
    said = f"{path}: No space left on device; the metrics of {{}} steps are not written, and kept in memory"
    one, two = capsys.readouterr().err.splitlines()
    assert said.format(1) in one and said.format(2) in two
    raw.room = 1000
    lines.write(b"fourth\n")
    assert path.read_bytes() == b"first\nsecond\nthird\nfourth\n"
    raw.room = 30
    lines.write(b"fifth\n")
    raw.room = 1000
    lines.close()
    assert (
        path.read_bytes().endswith(b"fourth\nfifth\n") and raw.closed and capsys.readouterr().err.count("verl_gpo") == 1
    )


def test_verls_own_logger_writes_whole_lines(named, tmp_path):
    logger = tracking.Tracking("project", "experiment", ["file"])
    assert isinstance(logger.logger["file"].fp, metrics_file.WholeLines)
    logger.finish()


@pytest.mark.parametrize("again", [False, True])
def test_a_step_that_was_saved_and_not_logged_is_not_missing(named, again):
    train((1, {"gpo/rows": 16.0, "loss": 1.0}))
    metrics_file.note_step(2, {"gpo/rows": 20.0})  # then the trainer is killed
    steps = (2, 3) if again else (3,)
    train(*((step, {"gpo/rows": 24.0, "loss": 2.0}) for step in steps))
    log = RunLog.read(named)
    assert log.series("gpo/rows") == {1: 16.0, 2: 24.0 if again else 20.0, 3: 24.0}
    assert 3 in log.series("loss") and (2 in log.series("loss")) is again


def test_a_step_that_was_logged_is_not_added_again(named):
    metrics_file.note_step(1, {"gpo/rows": 16.0})
    train((1, {"gpo/rows": 16.0, "loss": 1.0}))
    assert not list(named.parent.glob("*.step*"))
    train((2, {"loss": 2.0}))
    assert [json.loads(line)["step"] for line in named.read_text().splitlines()] == [1, 2]


def test_without_a_named_file_no_step_is_noted(tmp_path, monkeypatch):
    monkeypatch.delenv(metrics_file.PATH, raising=False)
    monkeypatch.chdir(tmp_path)
    metrics_file.note_step(1, {})
    assert not list(tmp_path.iterdir())
