"""In which phase a worker's prompts are, as it writes it for who watches."""

import json

import pytest

from tests.plugin.fakes import N_REENTRY
from verl_gpo.plugin.observe import progress as module
from verl_gpo.plugin.observe.progress import Progress
from verl_gpo.traces import phases


def test_phases_of_a_prompt_in_order(start, tmp_path, monkeypatch):
    monkeypatch.setenv(phases.FOLDER, str(tmp_path))
    seen = []
    monkeypatch.setattr(Progress, "enter", lambda self, step, uid, phase: seen.append((step, uid, phase)))
    start().prompt()
    assert seen == [(3, "p", phase) for phase in phases.PHASES]


def test_workers_files_add_up_to_the_phase_of_the_step(tmp_path, monkeypatch):
    monkeypatch.setenv(phases.FOLDER, str(tmp_path))
    monkeypatch.setattr("verl_gpo.plugin.observe.progress.INTERVAL", 0.0)
    one, two = Progress("a"), Progress("b")
    assert phases.read(tmp_path) == (-1, {})
    one.enter(1, "p", "rollout")
    one.enter(1, "q", "value")
    two.enter(1, "r", "done")
    assert phases.read(tmp_path) == (1, {"rollout": 1, "value": 1, "done": 1})
    assert phases.describe(phases.read(tmp_path)[1]) == "roll out 2/3"
    one.enter(1, "p", "reentry")
    assert phases.describe(phases.read(tmp_path)[1]) == "value 2/3"
    one.enter(1, "q", "done")
    assert phases.describe(phases.read(tmp_path)[1]) == "re-enter 2/3"
    one.enter(1, "p", "done")
    assert phases.describe(phases.read(tmp_path)[1]) == "train"
    two.enter(2, "s", "value")  # the other worker has nothing of this step yet
    one.enter(1, "late", "done")
    assert phases.read(tmp_path) == (2, {"value": 1})
    (tmp_path / "c.json").write_text('{"step": 9, "rol')  # half written by somebody else
    assert phases.read(tmp_path)[0] == 2


def test_the_last_prompt_is_always_seen(tmp_path, monkeypatch):
    monkeypatch.setenv(phases.FOLDER, str(tmp_path))
    monkeypatch.setattr("verl_gpo.plugin.observe.progress.INTERVAL", 1000.0)
    progress = Progress("a")
    for uid in "pq":
        progress.enter(1, uid, "rollout")
    assert phases.read(tmp_path)[1] == {"rollout": 1}  # not written again so soon
    for uid in "pq":
        progress.enter(1, uid, "done")
    assert phases.read(tmp_path)[1] == {"done": 2}


def test_nobody_watches(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv(phases.FOLDER, raising=False)
    Progress("a").enter(1, "p", "rollout")
    monkeypatch.setenv(phases.FOLDER, str(tmp_path / "gone"))
    progress = Progress("a")
    for _ in range(3):
        progress.enter(1, "p", "rollout")
    assert len(caplog.records) == 1 and not list(tmp_path.iterdir())


def test_the_worker_runs_where_the_progress_folder_is_gone(start, tmp_path, monkeypatch):
    monkeypatch.setenv(phases.FOLDER, str(tmp_path / "gone"))
    assert len(start().prompt().reentry_rows()) == N_REENTRY


@pytest.fixture
def clock(monkeypatch):
    """Seconds, as the test sets them."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_file_is_replaced_at_most_five_times_a_second(tmp_path, monkeypatch, clock):
    monkeypatch.setenv(phases.FOLDER, str(tmp_path))
    progress = Progress("a")
    seen = []
    for seconds, uid in ((100.0, "p"), (100.19, "q"), (100.2, "r"), (100.21, "s")):
        clock[0] = seconds
        progress.enter(4, uid, "value")
        seen.append(json.loads((tmp_path / "a.json").read_text()))
    assert seen == [{"step": 4, "value": count} for count in (1, 1, 3, 3)]
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]  # nothing half written is left


def test_prompts_of_an_earlier_step_do_not_count(tmp_path, monkeypatch, clock):
    monkeypatch.setenv(phases.FOLDER, str(tmp_path))
    progress = Progress("a")
    progress.enter(1, "p", "rollout")
    progress.enter(2, "q", "rollout")
    clock[0] += 1
    progress.enter(1, "p", "done")
    assert phases.read(tmp_path) == (2, {"rollout": 1})
