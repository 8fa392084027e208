"""verl and vLLM without an accelerator: the CPU as a platform of verl's.

Active only where ``VERL_PLATFORM`` names it, or names nothing and the host has no accelerator and is in no Ray cluster.
The real FSDP2 engine, the real vLLM server and the real weight transfer run. What verl 0.9.1 cannot do on a CPU is
patched here, vLLM's side in :mod:`verl_gpo.cpu.vllm_plugin`: one function a patch, each with its reason and the
condition for its removal. Where none is named we know of no upstream issue; verl does not claim to run on CPUs.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from contextlib import contextmanager
from typing import Any

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry, set_platform

from .detect import cpu_platform_wanted


class _CPUDevice:
    """What verl calls on ``torch.cuda``, answered for the CPU. Anything else falls through to ``torch.cpu``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        return None

    def _zero(self, *args: Any, **kwargs: Any) -> int:
        return 0

    set_device = empty_cache = ipc_collect = reset_peak_memory_stats = _nothing
    memory_allocated = memory_reserved = max_memory_allocated = max_memory_reserved = _zero

    def current_device(self) -> str:
        return "cpu"

    def get_device_name(self, *args: Any) -> str:
        return "cpu"

    def get_rng_state(self) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor) -> None:
        torch.set_rng_state(state)

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def mem_get_info(self, *args: Any) -> tuple[int, int]:
        import psutil

        memory = psutil.virtual_memory()
        return memory.available, memory.total


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    """The CPU as a verl platform: each rank sees one logical device, whose name is ``cpu``.

    Ray is told that there are as many GPUs as ranks (:mod:`verl_gpo.cpu.settings`), because verl places its workers,
    and reads their device id, by Ray's accelerator resource.
    """

    _device = _CPUDevice()

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> Any:
        return self._device

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return cpu_platform_wanted()

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str):
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def rollout_env_vars(self) -> dict[str, str]:
        return {
            # vLLM spends most of its start on compiling its sampler, in spite of enforce_eager.
            "TORCH_COMPILE_DISABLE": "1",
            # Lets vLLM's engine process hold its only worker itself (cpu_config), instead of one more process.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        }

    def cudart(self) -> None:
        return None


def activate() -> None:
    """Make the CPU this process's platform, where it is wanted. Called by verl's plugin loader."""
    if not cpu_platform_wanted():
        return
    set_platform(PlatformCPU())
    # verl registers its FSDP engines for "cuda" and "npu" only. The same classes run on the CPU, and this is verl's own
    # switch to choose them.
    os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")
    _find_vllm_by_its_cpu_name()
    _name_the_process_group_backend_once()
    _offload_references_without_pinning()


def _find_vllm_by_its_cpu_name() -> None:
    """Let ``importlib.metadata.version("vllm")`` find the distribution ``vllm-cpu``.

    Reason: verl 0.9.1 asks for the version of the distribution ``vllm`` and refuses to import without it; vLLM's CPU
    build is the same package under another distribution name.
    Remove when: verl reads ``vllm.__version__``, or the CPU wheel is published as ``vllm``.
    """
    version = importlib.metadata.version

    @functools.wraps(version)
    def version_with_alias(distribution_name: str) -> str:
        try:
            return version(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name == "vllm":
                # vLLM itself takes the suffix for the sign of a CPU build, and loads the kernels accordingly.
                return f"{version('vllm-cpu')}+cpu"
            raise

    importlib.metadata.version = version_with_alias


def _name_the_process_group_backend_once() -> None:
    """Give verl's process group the backend string ``cpu:gloo``.

    Reason: verl 0.9.1 builds ``cpu:gloo,<device>:<backend>``, which names the CPU twice here; torch refuses that.
    Remove when: verl leaves the second half out for the device "cpu".
    """
    import verl.utils.distributed as distributed

    distributed.initialize_global_process_group_ray = functools.partial(
        distributed.initialize_global_process_group_ray, backend="cpu:gloo"
    )


def _offload_references_without_pinning() -> None:
    """Keep a reference policy in ordinary memory.

    Reason: verl 0.9.1 offloads the weights of models that only run forward to pinned memory, which needs the driver of
    an accelerator.
    Remove when: verl leaves ``pin_memory`` to the platform.
    """
    import verl.utils.fsdp_utils as fsdp_utils

    pinned = fsdp_utils.CPUOffloadPolicy

    class Unpinned(pinned):
        def __init__(self, pin_memory: bool = False):
            super().__init__(pin_memory=False)

    fsdp_utils.CPUOffloadPolicy = Unpinned
