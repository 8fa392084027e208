"""The caretaker's own program, with real processes and real files in shared memory."""

import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from verl_gpo.plugin.watch import caretaker
from verl_gpo.plugin.watch.caretaker import Process, descendants, end, processes, remove, weight_files

SLEEP = [sys.executable, "-c", "import time; time.sleep(120)"]
#: Maps a weight file as verl's sender does, says so, and sleeps in spite of SIGTERM.
MAPS = """
import mmap, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = open(sys.argv[1], "w+b"); file.truncate(4096)
mapped = mmap.mmap(file.fileno(), 4096)
print("mapped", flush=True)
time.sleep(120)
"""
#: A driver that starts a caretaker and a process that would outlive it.
DRIVER = """
import subprocess, sys, time
earlier = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
time.sleep(0.1)
from verl_gpo.plugin.watch import caretaker
caretaker.start(patience=1.0)
caretaker.start()
child = subprocess.Popen([sys.executable, "-c", {maps!r}, {file!r}], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, len(caretaker._started), earlier.pid, flush=True)
time.sleep({seconds})
"""


def test_descendants_are_found_by_their_parents_and_kept_when_these_have_ended():
    alive = {Process(2, 20): 1, Process(3, 30): 2, Process(4, 40): 3, Process(9, 90): 1}
    assert descendants(set(), {2}, alive) == {Process(3, 30), Process(4, 40)}
    orphan = {Process(4, 40): 1, Process(5, 50): 4, Process(9, 90): 1}
    assert descendants({Process(4, 40)}, {2}, orphan) == {Process(4, 40), Process(5, 50)}
    # Its number was given to another process since.
    assert descendants({Process(4, 40)}, set(), {Process(4, 41): 1}) == set()


def test_processes_of_this_machine_know_their_parents():
    child = subprocess.Popen(SLEEP)
    try:
        found = processes()
        (process,) = [one for one in found if one.pid == child.pid]
        assert found[process] == os.getpid() and process in descendants(set(), {os.getpid()}, found)
    finally:
        child.kill()
        child.wait()
    assert child.pid not in {one.pid for one in processes()}


@pytest.fixture
def weights():
    file = caretaker.SHARED_MEMORY / f"{caretaker.WEIGHTS}test_{uuid.uuid4().hex}"
    yield file
    file.unlink(missing_ok=True)


def test_only_the_files_of_these_processes_are_theirs(weights):
    child = subprocess.Popen([sys.executable, "-c", MAPS, str(weights)], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        (process,) = [one for one in processes() if one.pid == child.pid]
        (other,) = [one for one in processes() if one.pid == os.getpid()]
        assert weight_files({process}) == {weights} and weight_files({other}) == set() == weight_files(set())
        killed, removed = end({process}, set(), patience=0.3)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL and removed == [str(weights)] and not weights.exists()
    assert len(killed) == 1 and killed[0].startswith("python") and str(child.pid) in killed[0]


def test_what_ends_by_itself_is_not_killed():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
    (process,) = [one for one in processes() if one.pid == child.pid]
    assert end({process}, set(), patience=30.0) == ([], [])
    assert child.wait() == 0


def test_a_file_that_is_gone_is_not_removed(weights):
    assert remove({weights}) == []


@pytest.mark.parametrize("how", ["ends", "killed", "terminated"])
def test_nothing_is_left_however_the_driver_ends(how, weights, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    program = DRIVER.format(maps=MAPS, file=str(weights), seconds=3 if how == "ends" else 120)
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid, caretakers, earlier = map(int, driver.stdout.readline().split())
    assert caretakers == 1 and weights.exists()
    if how != "ends":
        time.sleep(caretaker.LOOK + 1.0)  # it has looked
        driver.send_signal(signal.SIGKILL if how == "killed" else signal.SIGTERM)
    said = driver.stdout.read()  # the caretaker holds it, too
    assert driver.wait() == {"ends": 0, "killed": -signal.SIGKILL, "terminated": -signal.SIGTERM}[how]
    alive = {one.pid for one in processes()}
    assert not weights.exists() and pid not in alive
    assert earlier in alive  # it was there before the run
    os.kill(earlier, signal.SIGKILL)
    assert f"verl_gpo: processes that the run left were killed: {os.path.basename(sys.executable)} ({pid})" in said
    assert f"verl_gpo: files that the run left were removed: {weights}" in said


def test_a_full_disk_is_named_by_what_is_written_to_it(tmp_path, monkeypatch):
    there, later = str(tmp_path), str(tmp_path / "not" / "yet" / "metrics.jsonl")
    assert caretaker.full_disks([there, later]) == []
    monkeypatch.setattr(caretaker, "FULL", 1 << 62)
    assert caretaker.full_disks([there, later]) == [there, later]


def test_the_drivers_end_names_a_full_disk(tmp_path):
    program = (
        "import sys\n"
        "from verl_gpo.plugin.watch import caretaker\n"
        "caretaker.FULL = 1 << 62\n"
        f"caretaker.start([{str(tmp_path)!r}, None, '', 's3://bucket/x'], patience=0.1)\n"
        "sys.exit(3)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ended.returncode == 3 and ended.stderr == f"verl_gpo: the disk of {tmp_path} is full\n"
