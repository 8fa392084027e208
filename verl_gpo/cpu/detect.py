"""Is there an accelerator? Light: it imports neither verl nor vLLM."""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess

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
    """Whether this process has to run verl on the CPU."""
    named = os.environ.get("VERL_PLATFORM", "").strip().lower()
    return named == "cpu" if named else not accelerator_present()
