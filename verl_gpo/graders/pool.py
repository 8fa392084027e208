"""Worker processes under a time limit that works in any thread, in Ray actors and after a fork.

Why processes, and why started this way: math-verify's own limit is ``signal.alarm``, which needs the main thread, but
verl calls rewards from a thread pool inside Ray actors. A thread cannot be stopped, a process can. ``fork`` in a
threaded process may deadlock, the spawn of ``multiprocessing`` imports the caller's main module again; a plain
``subprocess`` does neither.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

#: CPU seconds for one comparison; ``VERL_GPO_GRADER_SECONDS`` sets another limit.
LIMIT = 3.0
#: Wall-clock seconds before a worker that says nothing is killed; CPU limits strike long before on a machine that runs.
PATIENCE = 60.0
_START = 180.0
_ROOT = str(Path(__file__).resolve().parents[2])


class GraderError(RuntimeError):
    """Grading cannot work at all here: a package is missing, or workers do not start."""


class _Worker:
    """One process and its pipes; used by one thread at a time."""

    def __init__(self, limit: float):
        path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "verl_gpo.graders.worker", str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the caller
        )
        if self._receive(_START) is None:
            self.stop()
            raise GraderError(f"a grading worker did not start: try {sys.executable} -m verl_gpo.graders.worker 1")

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The reply; None if the process died over the request or stayed silent: it is of no use any more.

        Raises:
            OSError: it had died before, so this says nothing of the request.
        """
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return self._receive(PATIENCE)

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        # Straight from the descriptor: a buffered reader may hold bytes that select does not see.
        deadline, received = time.monotonic() + seconds, b""
        descriptor = self.process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return None
            received += chunk
        return json.loads(received)

    def stop(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()


class Pool:
    """Up to ``size`` workers, started when first needed.

    Args:
        size: processes; None for ``VERL_GPO_GRADER_WORKERS``, or else one per core, at most 4.
        limit: CPU seconds for one request; None for the default.
    """

    def __init__(self, size: int | None = None, limit: float | None = None):
        size = size or int(os.environ.get("VERL_GPO_GRADER_WORKERS", 0)) or min(4, os.cpu_count() or 1)
        self.limit = limit or float(os.environ.get("VERL_GPO_GRADER_SECONDS", 0)) or LIMIT
        # Last in, first out: one caller keeps to one warm worker.
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)

    def run(self, operation: str, *arguments: Any) -> float | None:
        """Value of an operation of `worker`; None if it failed or met a limit. Blocks; any thread may call it.

        Raises:
            GraderError: no worker can be started.
        """
        request = {"operation": operation, "arguments": arguments}
        worker = self._slots.get()
        try:
            reply = None
            if worker is not None:
                try:
                    reply = worker.ask(request)
                except OSError:
                    worker.stop()
                    worker = None
            if worker is None:
                worker = _Worker(self.limit)
                reply = worker.ask(request)
            if reply is None:
                worker.stop()
                worker = None
            return reply and reply.get("value")
        finally:
            self._slots.put(worker)

    def close(self) -> None:
        """End the idle workers."""
        for _ in range(self._slots.qsize()):
            worker = self._slots.get()
            if worker is not None:
                worker.stop()
            self._slots.put(None)


_lock = threading.Lock()
_pool: Pool | None = None


def shared() -> Pool:
    """The process's pool.

    Raises:
        GraderError: math-verify is not installed.
    """
    global _pool
    with _lock:
        if _pool is None:
            if importlib.util.find_spec("math_verify") is None:
                raise GraderError("mathematical answers need the package math-verify: pip install math-verify")
            _pool = Pool()
        return _pool


def _forget() -> None:
    """After a fork the workers belong to the parent."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
