"""Beside the driver: when it has ended, ends the processes that it left, and removes their files of shared memory.

verl passes weights to the rollout engine through a file in ``/dev/shm`` when the device has no IPC. The sender removes
it, but not when it is killed, or when it waits for an engine that is dead. Processes of vLLM and of Ray may outlive a
driver that is killed. A process of its own does both, because it also has to work when the driver is killed (-9).

The caretaker notes every few seconds which processes descend from the driver, and which weight files they have mapped.
It ends only these processes, and removes only these files, so another run on the same machine is not touched. In a Ray
cluster that was there before, the workers do not descend from the driver; Ray ends them with its job.

This file is the caretaker's program, too: at module level it may import only what starts in no time.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: Bytes below which a disk is called full.
FULL = 4 << 20
SHARED_MEMORY, WEIGHTS = Path("/dev/shm"), "verl_weights_"
#: Seconds between two looks while the driver lives, and the seconds that processes get to end by themselves.
LOOK, PATIENCE = 2.0, 10.0
_PROC = Path("/proc")


class Process(NamedTuple):
    """A process; ``started`` tells it from a later one with the same number."""

    pid: int
    started: int


def processes() -> dict[Process, int]:
    """All processes of this machine that have not ended, and the number of the parent of each."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name is in brackets and may hold anything; field 3 is the state, 4 the parent, 22 the start.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[Process(int(entry.name), int(fields[19]))] = int(fields[1])
    return found


def descendants(known: set[Process], roots: set[int], alive: dict[Process, int]) -> set[Process]:
    """Processes that descend from ``roots`` or from a known process; known ones stay, whoever is their parent now."""
    found = known & set(alive)
    parents = roots | {process.pid for process in found}
    while True:
        more = {process for process, parent in alive.items() if parent in parents} - found
        if not more:
            return found
        found |= more
        parents |= {process.pid for process in more}


def weight_files(of: set[Process]) -> set[Path]:
    """The weight files that one of these processes has mapped."""
    names = {name for name in os.listdir(SHARED_MEMORY) if name.startswith(WEIGHTS)} if SHARED_MEMORY.is_dir() else ()
    mapped = set()
    for process in of if names else ():
        with contextlib.suppress(OSError):
            maps = (_PROC / str(process.pid) / "maps").read_text(errors="replace")
            mapped |= {SHARED_MEMORY / name for name in names if f"{SHARED_MEMORY}/{name}" in maps}
    return mapped


def name_of(process: Process) -> str:
    """What ``ps`` shows of a process, without its arguments."""
    with contextlib.suppress(OSError):
        words = (_PROC / str(process.pid) / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").split()
        if words:
            return os.path.basename(words[0])
    return "unknown"


def end(left: set[Process], files: set[Path], patience: float = PATIENCE) -> tuple[list[str], list[str]]:
    """Wait for processes to end, kill (-9) those that do not, and remove the files.

    Returns:
        Names of the processes that were killed, and of the files that were removed.
    """
    until, known = time.monotonic() + patience, left
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = descendants(left, set(), processes())
        known, files = known | left, files | weight_files(left)
    killed = []
    for process in sorted(left):
        killed.append(f"{name_of(process)} ({process.pid})")
        with contextlib.suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 5.0
    while left and time.monotonic() < until:
        left = left & set(processes())
        time.sleep(0.05)
    return killed, remove(files)


def remove(files: set[Path]) -> list[str]:
    """Remove files; those that are gone already are left out of the answer."""
    removed = []
    for file in sorted(files):
        with contextlib.suppress(OSError):
            file.unlink()
            removed.append(str(file))
    return removed


def watch(driver: int, patience: float, standard_input: int = 0) -> None:
    """Note what belongs to the driver until it has ended, or until it closes the pipe; then clear up."""
    known: set[Process] = set()
    files: set[Path] = set()
    (myself,) = (process for process in processes() if process.pid == os.getpid())
    waiting = True
    while waiting:
        waiting = not select.select([standard_input], [], [], LOOK)[0]
        found = descendants(known, {driver}, processes()) - {myself}
        # What the driver has started before it trained is not the run's.
        known = {process for process in found if process.started >= myself.started}
        files |= weight_files(known)
    killed, removed = end(known, files, patience)
    with contextlib.suppress(OSError):
        if killed:
            print(f"verl_gpo: processes that the run left were killed: {', '.join(killed)}", flush=True)
        if removed:
            print(f"verl_gpo: files that the run left were removed: {', '.join(removed)}", flush=True)


_started: list[subprocess.Popen] = []
_written: list[str] = []


def start(written: Sequence[str | None] = (), patience: float = PATIENCE) -> None:
    """Start the caretaker of this process, once.

    Args:
        written: folders and files that the run writes; at its end full disks among theirs are named.
        patience: seconds that processes get to end by themselves.
    """
    _written[:] = [path for path in written if path and "://" not in path]
    if _started or not sys.platform.startswith("linux"):
        return
    import atexit

    # A session of its own: Ctrl-C and a signal to the run's process group must not end it before it has cleared up.
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid()), str(patience)]
    _started.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/"))
    atexit.register(finish)


def full_disks(paths: Sequence[str]) -> list[str]:
    """Those of these paths whose disk is full."""
    full = []
    for path in paths:
        folder = Path(path).absolute()
        while not folder.exists():
            folder = folder.parent
        if shutil.disk_usage(folder).free < FULL:
            full.append(path)
    return full


def finish() -> None:
    """At the driver's end: Ray is shut down, then the caretaker clears up what is left, and is waited for.

    A disk that is full is named, because torch says "iostream error" when it cannot write a checkpoint.
    """
    for path in full_disks(_written):
        print(f"verl_gpo: the disk of {path} is full", file=sys.stderr, flush=True)
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        time.sleep(0.5)  # what the workers printed last is on its way
        with contextlib.suppress(Exception):
            ray.shutdown()
    for caretaker in _started:
        caretaker.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            caretaker.wait(PATIENCE + 10.0)


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]))
