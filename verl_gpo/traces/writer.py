"""Appends records to compressed, rotating JSON-lines files from a thread, so that the caller does not wait.

A record is passed to a thread through a bounded queue. The thread turns all waiting records into JSON lines, compresses
them into one gzip member and appends the member with a single write. Members are independent of each other, so every
member that a killed process has written can be read, except perhaps an incomplete last one
(:mod:`verl_gpo.traces.reader` drops it). There is no fsync: a crash of the machine may lose the latest records.

What cannot be written, because the disk is full, is kept in memory up to a limit, and written when there is room again.

Files are ``{name}.{number}.jsonl.gz``. A writer never appends to a file that it did not create. Together they stay
within the size limit: the oldest file is deleted first.
"""

from __future__ import annotations

import atexit
import errno
import gzip
import json
import logging
import math
import queue
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

#: Number of records that may wait. More are dropped, so that a slow disk loses records but costs no memory or time.
WAITING = 64
#: Bytes of text in one gzip member. Records share a member if they wait at the same time; none waits for a later one.
MEMBER_BYTES = 1 << 20
#: Bytes of text that are kept while the disk takes none.
KEPT_BYTES = 16 << 20
#: Rotation deletes at most a quarter of the files' bytes at once.
PARTS = 4
#: The highest of gzip's fast levels: three times the speed of the default level for a tenth more bytes.
LEVEL = 3


class TraceWriter:
    """Writes records from its own thread; :meth:`write` neither waits nor raises.

    Args:
        folder: where the files go; created with the first record.
        name: name of this process's files; no other process that writes into the folder may use it.
        max_bytes: size limit of all files of this name together, compressed.
        every: one record out of every ``every`` is kept, starting with the first; the others cost nothing.

    Attributes:
        written: number of records in files.
        dropped: number of records for which the queue was full, or that are larger than the size limit.
        failed: number of records that could not be built, turned into JSON, or written in the end.

    Raises:
        ValueError: a name that is not a file name, or a size limit or ``every`` below 1.
    """

    def __init__(self, folder: str | Path, name: str, max_bytes: int = 1 << 30, every: int = 1):
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"name={name!r}: must be letters, digits, - and _")
        for key, value in (("max_bytes", max_bytes), ("every", every)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{key}={value!r}: must be an integer of at least 1")
        self.written = self.dropped = self.failed = 0
        self._folder, self._name, self._max_bytes, self._every = Path(folder), name, max_bytes, every
        self._offered = 0
        self._queue: queue.Queue = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._file: BinaryIO | None = None
        self._warned: set[str] = set()
        self._kept: list[bytes] = []

    def write(self, record: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> Future[None] | None:
        """Pass on a record, or a function that builds it, which the thread calls only if the record is kept.

        Returns:
            What is done as soon as the thread has tried to write the record; None if it is not kept.
        """
        offered, self._offered = self._offered, self._offered + 1
        if offered % self._every or self._closing.is_set():
            return None
        tried: Future[None] = Future()
        try:
            if self._thread is None:  # started with the first record, because a fork loses threads
                self._thread = threading.Thread(target=self._run, name=f"traces-{self._name}", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._queue.put_nowait((record, tried))
            return tried
        except queue.Full:
            self.dropped += 1
        except Exception:  # for example, no more threads
            self._fail("no thread")
        return None

    def close(self, timeout: float = 10.0) -> None:
        """Write the waiting records, for at most ``timeout`` seconds. Later records are ignored."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            lines, waiting, ended = self._batch()
            self._kept += lines
            if self._kept:
                try:
                    self._append(self._kept)
                    self._kept = []
                except Exception:
                    self._keep_what_fits()
            for tried in waiting:
                if tried.set_running_or_notify_cancel():
                    tried.set_result(None)
            if ended:
                if self._kept:
                    self._fail("never written", len(self._kept))
                self._close_file()
                return

    def _keep_what_fits(self) -> None:
        """After an error: say so once, and give the oldest records up if there are too many."""
        self._fail("not written; it is kept in memory until there is room", 0)
        while sum(map(len, self._kept)) > KEPT_BYTES:
            self._kept.pop(0)
            self.failed += 1

    def _batch(self) -> tuple[list[bytes], list[Future[None]], bool]:
        """The lines of the next member, who waits for it, and whether it is the last."""
        lines: list[bytes] = []
        waiting: list[Future[None]] = []
        size = 0
        while size < MEMBER_BYTES:
            try:
                # Short waits, because an Event cannot be waited for together with a queue.
                record, tried = self._queue.get(not waiting, 0.1)
            except queue.Empty:
                if waiting:
                    break
                if self._closing.is_set():
                    return lines, waiting, True
                continue
            waiting.append(tried)
            try:
                lines.append(json_line(record() if callable(record) else record))
            except Exception:
                self._fail("not built")
                continue
            size += len(lines[-1])
        return lines, waiting, False

    def _append(self, lines: list[bytes]) -> None:
        member = gzip.compress(b"".join(lines), LEVEL, mtime=0)
        if len(member) > self._max_bytes:
            self.dropped += len(lines)
            return
        if self._file is not None and self._file.tell() + len(member) > max(self._max_bytes // PARTS, 1):
            self._close_file()
        self._make_room(len(member))
        if self._file is None:
            self._file = self._new_file()
        before = self._file.tell()
        try:
            if self._file.write(member) != len(member):
                raise OSError(errno.ENOSPC, "the disk took only a part of a record")
        except OSError:
            self._file.truncate(before)
            self._file.seek(before)
            raise
        self.written += len(lines)

    def _files(self) -> list[Path]:
        """This name's files, oldest first."""
        found = self._folder.glob(f"{self._name}.*.jsonl.gz")
        return sorted((path for path in found if _number(path) is not None), key=_number)

    def _make_room(self, size: int) -> None:
        files = self._files()
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total + size <= self._max_bytes:
                return
            if self._file is not None and path == files[-1]:
                self._close_file()  # continue in a new file
            total -= path.stat().st_size
            path.unlink()

    def _new_file(self) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = max(map(_number, self._files()), default=-1) + 1
        # Unbuffered: the kernel has a member when write returns. Exclusive: another process's file is never opened.
        return (self._folder / f"{self._name}.{number:06d}.jsonl.gz").open("xb", buffering=0)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _fail(self, what: str, records: int = 1) -> None:
        self.failed += records
        if what not in self._warned:  # only once: a full disk must not also fill the log
            self._warned.add(what)
            logger.warning("traces of %s in %s: a record was %s", self._name, self._folder, what, exc_info=True)


def _number(path: Path) -> int | None:
    number = path.name.split(".")[1]
    return int(number) if number.isdecimal() else None


def json_line(record: Mapping[str, Any]) -> bytes:
    """A record as one line of JSON: values that JSON does not have become null (NaN, infinities) or text."""
    return json.dumps(plain(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def plain(value: Any) -> Any:
    """``value`` in JSON's own types; numpy's numbers and arrays become Python's."""
    if value is None or isinstance(value, bool | str):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)
