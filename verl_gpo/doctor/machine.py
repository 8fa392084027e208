"""The machine: Python, accelerators, shared memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..cpu.detect import accelerator_present
from .finding import NOTE, OK, WRONG, Finding

GIB = 2**30
SHARED_MEMORY = Path("/dev/shm")
#: Ray's object store, verl's transfer of weights and NCCL use shared memory. A container has 64 MB by default.
LEAST_SHARED_MEMORY = 1 * GIB
#: For Ray's session, logs, and a checkpoint of a small model.
LEAST_DISK = 10 * GIB


def python() -> Finding:
    """The version of Python, and where it is."""
    found = f"{platform.python_version()}, {sys.executable}"
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Finding("Python", OK, found)
    return Finding("Python", WRONG, found, "must be 3.10, 3.11 or 3.12")


def driver() -> Finding:
    """The accelerators and their driver, asked from ``nvidia-smi``, so that a broken torch does not matter."""
    if not accelerator_present():
        return Finding("accelerator", OK, "none: runs are on the CPU (toy size)")
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return Finding("accelerator", NOTE, "a device, but no nvidia-smi")
    query = [smi, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("accelerator", WRONG, f"nvidia-smi: {type(error).__name__}", "reload the driver, or reboot")
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    if result.returncode or not lines:
        said = (result.stderr.strip() or result.stdout.strip() or "nothing").splitlines()[-1]
        return Finding("accelerator", WRONG, f"nvidia-smi: {said}", "install or reload NVIDIA's driver")
    name, memory, version = (part.strip() for part in lines[0].split(","))
    return Finding("accelerator", OK, f"{len(lines)} x {name}, {memory}, driver {version}")


def shared_memory() -> Finding:
    """The free space of ``/dev/shm``, at least `LEAST_SHARED_MEMORY` bytes."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError as error:
        return Finding("shared memory", WRONG, f"{SHARED_MEMORY}: {error.strerror}", "mount a tmpfs there")
    found = f"{free / GIB:.1f} GiB free in {SHARED_MEMORY}"
    if free < LEAST_SHARED_MEMORY:
        least = f"must be {LEAST_SHARED_MEMORY // GIB} GiB or more: docker run --shm-size=16g, or --ipc=host"
        return Finding("shared memory", WRONG, found, least)
    return Finding("shared memory", OK, found)


def disk() -> Finding:
    """The free space where Ray keeps its session and where runs write, at least `LEAST_DISK` bytes in each."""
    places = {Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()), Path.cwd()}
    free = {place: shutil.disk_usage(place).free for place in sorted(places) if place.exists()}
    found = ", ".join(f"{size / GIB:.0f} GiB free in {place}" for place, size in free.items())
    if min(free.values()) < LEAST_DISK:
        least = f"must be {LEAST_DISK // GIB} GiB or more; RAY_TMPDIR and OUT_DIR name other folders"
        return Finding("disk", WRONG, found, least)
    return Finding("disk", OK, found)
