"""The CPU as verl's platform, and what each patch of verl changes."""

import importlib.metadata as metadata

import pytest
import torch
import verl.utils.distributed as distributed
import verl.utils.fsdp_utils as fsdp_utils

from verl_gpo.cpu import verl_platform
from verl_gpo.cpu.verl_platform import PlatformCPU


def test_the_platform_is_one_device_of_the_cpu():
    platform = PlatformCPU()
    assert (platform.device_name, platform.vendor_name, platform.current_device()) == ("cpu", "cpu", "cpu")
    assert platform.device_count() == 1 and platform.is_available() and not platform.is_ipc_supported()
    assert platform.communication_backend_name() == "gloo" and platform.ray_resource_name() == "GPU"
    with platform.nvtx_range("x"):
        assert platform.get_device_capability() == (None, None)


@pytest.mark.parametrize("wanted", [True, False])
def test_it_is_available_where_it_is_wanted(monkeypatch, wanted):
    monkeypatch.setattr(verl_platform, "cpu_platform_wanted", lambda: wanted)
    assert PlatformCPU().is_platform_available() is wanted


def test_what_verl_asks_of_torch_cuda_is_answered_for_the_cpu():
    device = PlatformCPU().device_module
    assert device.memory_allocated() == device.max_memory_reserved("cpu") == 0 and device.empty_cache() is None
    available, total = device.mem_get_info()
    assert 0 < available <= total
    assert device.is_available() is torch.cpu.is_available()  # the rest is torch.cpu's


def test_random_numbers_repeat_from_a_kept_state():
    before = torch.get_rng_state()
    try:
        device = PlatformCPU().device_module
        device.manual_seed(5)
        state = device.get_rng_state()
        first = torch.rand(3)
        device.set_rng_state(state)
        assert torch.equal(torch.rand(3), first)
    finally:
        torch.set_rng_state(before)


def test_the_cache_size_of_the_user_is_kept(monkeypatch):
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    assert PlatformCPU().rollout_env_vars()["VLLM_CPU_KVCACHE_SPACE"] == "1"
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    assert PlatformCPU().rollout_env_vars()["VLLM_CPU_KVCACHE_SPACE"] == "7"


@pytest.mark.parametrize(
    ("there", "found"),
    [({"vllm-cpu": "0.24.0"}, "0.24.0+cpu"), ({"vllm": "0.23.0", "vllm-cpu": "0.24.0"}, "0.23.0"), ({}, None)],
)
def test_vllm_is_found_by_the_name_of_its_cpu_build(monkeypatch, there, found):
    def version(name):
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    verl_platform._find_vllm_by_its_cpu_name()
    if found is None:
        with pytest.raises(metadata.PackageNotFoundError):
            metadata.version("vllm")
    else:
        assert metadata.version("vllm") == found
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("other")


def test_the_process_groups_backend_names_the_cpu_once(monkeypatch):
    seen = []
    monkeypatch.setattr(distributed, "initialize_global_process_group_ray", lambda *a, **k: seen.append((a, k)))
    verl_platform._name_the_process_group_backend_once()
    distributed.initialize_global_process_group_ray(60)
    assert seen == [((60,), {"backend": "cpu:gloo"})]


def test_references_are_offloaded_without_pinned_memory(monkeypatch):
    monkeypatch.setattr(fsdp_utils, "CPUOffloadPolicy", fsdp_utils.CPUOffloadPolicy)  # put back afterwards
    original = fsdp_utils.CPUOffloadPolicy
    verl_platform._offload_references_without_pinning()
    made = fsdp_utils.CPUOffloadPolicy(pin_memory=True)
    assert made.pin_memory is False and isinstance(made, original)


def test_nothing_happens_with_an_accelerator(monkeypatch):
    monkeypatch.setattr(verl_platform, "cpu_platform_wanted", lambda: False)
    for name in ("set_platform", "_find_vllm_by_its_cpu_name", "_name_the_process_group_backend_once"):
        monkeypatch.setattr(verl_platform, name, None)  # a call would raise
    verl_platform.activate()
