"""What this host computes with: an accelerator, cores, bfloat16 units. Light: it imports neither verl nor vLLM.

This is about a host. A run that joins a cluster has the cluster's accelerators; its driver decides, and names the
platform to all other processes (``VERL_PLATFORM``, :mod:`verl_gpo.plugin.checks.accelerators`).
"""

from __future__ import annotations

import functools
import glob
import os
import pathlib
import shutil
import subprocess

from .cluster import joined_cluster

#: verl's variable that names the platform; it comes before all that is found.
PLATFORM = "VERL_PLATFORM"
#: Device nodes of NVIDIA (also in WSL), AMD, Ascend and Habana accelerators. They are looked for instead of
#: ``torch.cuda.is_available()`` because Ray hides the devices from actors that asked for none.
_DEVICE_NODES = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/davinci*", "/dev/accel/accel*")


def _torch_sees_one() -> bool:
    import torch

    return torch.cuda.is_available()


@functools.lru_cache(maxsize=1)
def accelerator_present() -> bool:
    """Whether this host has an accelerator, seen by this process or not."""
    if any(glob.glob(pattern) for pattern in _DEVICE_NODES) or _torch_sees_one():
        return True
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return False
    try:
        return subprocess.run([smi], capture_output=True, timeout=10).returncode == 0
    except (subprocess.TimeoutExpired, OSError):
        return False


@functools.lru_cache(maxsize=1)
def cpu_platform_wanted() -> bool:
    """Whether this process has to run verl on the CPU.

    On a node of a cluster only if it is named: a node without an accelerator may be the head of a GPU cluster.
    """
    named = os.environ.get(PLATFORM, "").strip().lower()
    if named:
        return named == "cpu"
    return not accelerator_present() and joined_cluster() is None


#: The variable by which the driver tells training and engine how many threads to compute with.
THREADS = "VERL_GPO_CPU_THREADS"


def threads() -> int | None:
    """Number of threads that the driver wants, or None: Ray's own choice, which is one."""
    named = os.environ.get(THREADS, "")
    return int(named) if named.isdigit() and int(named) else None


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


#: Units that multiply bfloat16 matrices, as Linux names them: the first two are of x86, the others of Arm. A CPU
#: without them can compute in bfloat16 too, more slowly than in float32.
_BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "svebf16", "bf16")


def bfloat16_units(cpuinfo: str | None = None) -> tuple[str, ...]:
    """The bfloat16 units of this host's CPU, or of one with this ``/proc/cpuinfo``; empty where there are none."""
    if cpuinfo is None:
        try:
            cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
        except OSError:  # another system than Linux
            return ()
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = {flag for name, _, value in lines if name.strip() in ("flags", "Features") for flag in value.split()}
    return tuple(unit for unit in _BFLOAT16_UNITS if unit in flags)


def own_engine_wanted() -> bool:
    """Whether the CPU's engine is to be used; ``VERL_GPO_CPU_ENGINE=verl`` says no, to compare it with verl's."""
    return os.environ.get("VERL_GPO_CPU_ENGINE", "").strip().lower() != "verl"
