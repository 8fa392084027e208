"""Worker processes with a time limit that works in any thread, in Ray actors and after a fork.

Why processes: math-verify's own limit is ``signal.alarm``, which works in the main thread only, and verl calls reward
functions from a thread pool inside Ray actors. A thread cannot be stopped, and a process can. Why ``subprocess``: a
``fork`` of a process with threads may deadlock, and the spawn method of ``multiprocessing`` imports the main module of
the caller once more. ``subprocess`` does neither.
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

#: CPU seconds that one comparison may take; the variable ``VERL_GPO_GRADER_SECONDS`` sets another limit.
LIMIT = 3.0
#: Wall-clock seconds after which a worker that does not answer is killed. The limit of CPU seconds comes long before,
#: unless the machine gives the worker no time.
PATIENCE = 60.0
_START = 180.0  # seconds that a worker may take to start
_ROOT = str(Path(__file__).resolve().parents[2])


class GraderError(RuntimeError):
    """Nothing can be graded here: a package is missing, or workers do not start."""


class _Worker:
    """One process and its pipes. It is used by one thread at a time."""

    def __init__(self, limit: float):
        path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "verl_gpo.graders.worker", str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # so that Ctrl-C reaches the caller only
        )
        if self._receive(_START) is None:
            self.stop()
            raise GraderError(f"a grading worker did not start: try {sys.executable} -m verl_gpo.graders.worker 1")

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The reply. None if the process died during the request or did not answer; it cannot be used any more then.

        Raises:
            OSError: the process had died before the request, so the request was not tried.
        """
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return self._receive(PATIENCE)

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        # Read from the descriptor itself: a buffered reader may hold bytes that poll does not see.
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
    """Up to ``size`` workers, each started when it is first needed.

    Args:
        size: number of processes; None for the variable ``VERL_GPO_GRADER_WORKERS``, or else one for each core and at
            most 4.
        limit: CPU seconds that one request may take; None for the default, `LIMIT`.
    """

    def __init__(self, size: int | None = None, limit: float | None = None):
        size = size or int(os.environ.get("VERL_GPO_GRADER_WORKERS", 0)) or min(4, os.cpu_count() or 1)
        self.limit = limit or float(os.environ.get("VERL_GPO_GRADER_SECONDS", 0)) or LIMIT
        # Last in, first out, so that a single caller always gets the same worker, which has its libraries loaded.
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)

    def run(self, operation: str, *arguments: Any) -> float | None:
        """Run an operation in a worker. Blocks until it ends, and may be called from any thread.

        Args:
            operation: a name of ``verl_gpo.graders.worker.OPERATIONS``.
            arguments: of the operation; anything that JSON can hold.

        Returns:
            The operation's value; None if it failed or reached a limit of time or memory.

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
        """End the workers that are idle; the next request starts new ones."""
        for _ in range(self._slots.qsize()):
            worker = self._slots.get()
            if worker is not None:
                worker.stop()
            self._slots.put(None)


_lock = threading.Lock()
_pool: Pool | None = None


def shared() -> Pool:
    """The pool that all graders of this process share; the first call makes it.

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
    """Drop the pool in a forked process: the workers belong to the parent."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
