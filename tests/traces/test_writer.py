"""Records in files: bounded, in order, readable after a kill, and never a reason for the caller to wait or to fail."""

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from verl_gpo.traces import writer as trace_writer
from verl_gpo.traces.reader import count_traces, read_traces, trace_files
from verl_gpo.traces.writer import TraceWriter, json_line, plain

TEXT = "ünï \u2028 😀 </script>"


def record(number, size=0):
    # Random text, so that compressing it does not hide the size.
    return {"schema": 1, "number": number, "text": os.urandom(size // 2).hex()}


def numbers(folder):
    return [record["number"] for record in read_traces(folder)]


def test_records_come_back_as_they_were_written_in_order(tmp_path):
    writer = TraceWriter(tmp_path / "deep" / "folder", "w")
    for number in range(20):
        writer.write({**record(number), "text": TEXT} if number % 2 else lambda: record(4))
    writer.close()
    assert (writer.written, writer.dropped, writer.failed) == (20, 0, 0)
    read = list(read_traces(tmp_path / "deep" / "folder"))
    assert [r["number"] for r in read] == [number if number % 2 else 4 for number in range(20)]
    assert read[1]["text"] == TEXT


def test_nothing_is_made_before_the_first_record(tmp_path):
    TraceWriter(tmp_path / "folder", "w").close()
    assert not (tmp_path / "folder").exists()


def test_files_rotate_and_stay_within_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_writer, "MEMBER_BYTES", 2000)
    bound = 40_000
    writer = TraceWriter(tmp_path, "w", max_bytes=bound)
    for number in range(100):
        writer.write(record(number, 2000))
        while writer.written + writer.dropped <= number:  # no record waits for another
            time.sleep(0.001)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound
    writer.close()
    kept = numbers(tmp_path)
    assert kept == list(range(kept[0], 100))  # the newest, without a gap
    assert len(kept) > 20 and len(trace_files(tmp_path)) > 2  # most of the bound is used


def test_a_record_larger_than_the_bound_is_dropped(tmp_path):
    writer = TraceWriter(tmp_path, "w", max_bytes=500)
    writer.write(record(0, 4000))
    writer.close()
    assert (writer.written, writer.dropped) == (0, 1) and not list(tmp_path.glob("*.gz"))


def test_one_record_in_so_many_is_built(tmp_path):
    built = []
    writer = TraceWriter(tmp_path, "w", every=3)
    for number in range(7):
        writer.write(lambda number=number: built.append(number) or record(number))
    writer.close()
    assert built == numbers(tmp_path) == [0, 3, 6]


def test_a_full_queue_drops_records_and_never_waits(tmp_path):
    release = threading.Event()

    def slow():
        release.wait(20)
        return record(0)

    writer = TraceWriter(tmp_path, "w")
    writer.write(slow)
    time.sleep(0.3)  # until the thread has taken it
    started = time.monotonic()
    for number in range(trace_writer.WAITING + 10):
        writer.write(record(number + 1))
    assert time.monotonic() - started < 0.5
    assert writer.dropped == 10
    release.set()
    writer.close()
    assert numbers(tmp_path) == list(range(trace_writer.WAITING + 1))


def test_a_record_that_cannot_be_built_costs_itself_only(tmp_path, caplog):
    writer = TraceWriter(tmp_path, "w")
    for number in range(4):
        writer.write((lambda: 1 / 0) if number in (1, 2) else record(number))
    writer.close()
    assert (writer.written, writer.failed) == (2, 2) and numbers(tmp_path) == [0, 3]
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1  # said once


def test_a_folder_that_cannot_be_written_to_costs_records_only(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    writer = TraceWriter(tmp_path / "file" / "folder", "w")
    writer.write(record(0))
    writer.close()
    assert (writer.written, writer.failed) == (0, 1) and "not written" in caplog.text


def test_several_writers_share_a_folder_and_a_later_one_goes_on(tmp_path):
    writers = [TraceWriter(tmp_path, name) for name in ("a", "b")]
    for number in range(10):
        writers[number % 2].write(record(number))
    for writer in writers:
        writer.close()
    before = {path: path.read_bytes() for path in trace_files(tmp_path)}
    later = TraceWriter(tmp_path, "a")
    later.write(record(10))
    later.close()
    assert sorted(numbers(tmp_path)) == list(range(11))
    assert all(path.read_bytes() == data for path, data in before.items())  # files of others are not appended to
    assert sorted(path.name for path in trace_files(tmp_path)) == [
        "a.000000.jsonl.gz",
        "a.000001.jsonl.gz",
        "b.000000.jsonl.gz",
    ]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "a/b"}, "name="),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"every": 0}, "every=0"),
        ({"every": 1.5}, "1.5"),
    ],
)
def test_settings_that_cannot_work(tmp_path, settings, says):
    with pytest.raises(ValueError, match=says):
        TraceWriter(tmp_path, **{"name": "w", **settings})


def test_any_value_becomes_json():
    odd = {
        1: np.float32(0.5),
        "nan": float("nan"),
        "inf": [np.inf, -np.inf],
        "array": np.arange(3),
        "flag": np.bool_(True),
        "set": {3},
        "path": REPOSITORY / "x",
    }
    assert json.loads(json_line(odd)) == {
        "1": 0.5,
        "nan": None,
        "inf": [None, None],
        "array": [0, 1, 2],
        "flag": True,
        "set": [3],
        "path": str(REPOSITORY / "x"),
    }
    assert plain((True, 1, 1.5, "a", None)) == [True, 1, 1.5, "a", None]


#: Writes for ever, a few records a member, and says how many are in files.
FOR_EVER = """
import os, sys, time
from verl_gpo.traces import writer as trace_writer
trace_writer.MEMBER_BYTES = 20_000
writer = trace_writer.TraceWriter(sys.argv[1], "w")
number = 0
while True:
    writer.write({"schema": 1, "number": number, "text": os.urandom(4000).hex()})
    number += 1
    print(writer.written, flush=True)
    time.sleep(0.0005)
"""


def test_what_was_written_before_a_kill_is_readable(tmp_path):
    folder = tmp_path / "traces"
    program = subprocess.Popen(
        [sys.executable, "-c", FOR_EVER, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    said = 0
    for line in program.stdout:
        said = int(line)
        if said >= 200:
            break
    program.send_signal(signal.SIGKILL)
    assert program.wait(20) == -signal.SIGKILL
    kept = numbers(folder)
    assert len(kept) >= said >= 200
    assert kept == sorted(set(kept)) and kept[0] == 0
    # A process that comes back writes beside what is there.
    writer = TraceWriter(folder, "w")
    writer.write(record(10**6))
    writer.close()
    assert numbers(folder) == [*kept, 10**6]


@pytest.mark.parametrize(("cut", "kept"), [(1, [0, 1, 2]), (8, [0, 1, 2]), (100, [0, 1]), (1500, [0, 1])])
def test_a_member_that_was_cut_off_costs_no_other(tmp_path, cut, kept, monkeypatch):
    monkeypatch.setattr(trace_writer, "MEMBER_BYTES", 1)
    writer = TraceWriter(tmp_path, "w")
    for number in range(3):
        writer.write(record(number, 4000))
    writer.close()
    (file,) = trace_files(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    assert numbers(tmp_path) == kept  # a line whose checksum alone is missing is whole
    assert count_traces(tmp_path) == len(kept)


def test_other_tools_read_the_files(tmp_path):
    writer = TraceWriter(tmp_path, "w")
    for number in range(5):
        writer.write(record(number))
    writer.close()
    (file,) = trace_files(tmp_path)
    with gzip.open(file, "rt") as lines:
        assert [json.loads(line)["number"] for line in lines] == list(range(5))


@pytest.mark.parametrize("partly", [False, True])
def test_a_disk_that_is_full_for_a_while_costs_no_record(tmp_path, partly, caplog, monkeypatch):
    writer = TraceWriter(tmp_path, "w")
    writer.write(record(0))
    full, write = threading.Event(), io.FileIO.write

    class Disk(io.FileIO):
        def write(self, data):
            if not full.is_set():
                return write(self, data)
            if partly:
                write(self, data[:7])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TraceWriter, "_new_file", lambda self: Disk(self._folder / "w.000000.jsonl.gz", "xb"))
    while writer.written < 1:
        time.sleep(0.01)
    full.set()
    for number in (1, 2):
        writer.write(record(number))
        time.sleep(0.5)
    assert (writer.written, writer.failed) == (1, 0) and numbers(tmp_path) == [0]
    assert caplog.text.count("kept in memory until there is room") == 1
    full.clear()
    writer.write(record(3))
    writer.close()
    assert (writer.written, writer.failed) == (4, 0) and numbers(tmp_path) == [0, 1, 2, 3]


def test_what_is_kept_for_a_full_disk_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_writer, "KEPT_BYTES", 9000)
    full = [True]
    append = TraceWriter._append

    def fails(self, lines):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, lines)

    monkeypatch.setattr(TraceWriter, "_append", fails)
    writer = TraceWriter(tmp_path, "w")
    for number in range(5):
        writer.write(record(number, 4000))
        time.sleep(0.4)
    full.clear()
    writer.close()
    assert numbers(tmp_path) == [3, 4] and (writer.written, writer.failed) == (2, 3)
