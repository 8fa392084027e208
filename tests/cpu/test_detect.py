"""Whether there is an accelerator: by device nodes, by torch, or by nvidia-smi; and who may say otherwise."""

import subprocess
from fnmatch import fnmatch
from types import SimpleNamespace

import pytest

from verl_gpo.cpu import detect


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """A host on which nothing is found, and no answer is remembered."""
    monkeypatch.setattr(detect.glob, "glob", lambda pattern: [])
    monkeypatch.setattr(detect, "_torch_sees_one", lambda: False)
    monkeypatch.setattr(detect.shutil, "which", lambda name: None)
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    remembered = (detect.accelerator_present, detect.cpu_platform_wanted)
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


def test_a_bare_host_has_none_and_wants_the_cpu():
    assert detect.accelerator_present() is False and detect.cpu_platform_wanted() is True


@pytest.mark.parametrize(
    "node", ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/davinci7", "/dev/accel/accel0"]
)
def test_a_device_node_is_an_accelerator_even_where_ray_hides_it(monkeypatch, node):
    monkeypatch.setattr(detect.glob, "glob", lambda pattern: [node] if fnmatch(node, pattern) else [])
    assert detect.accelerator_present() is True and detect.cpu_platform_wanted() is False


def test_other_device_nodes_are_none(monkeypatch):
    monkeypatch.setattr(detect.glob, "glob", lambda pattern: [pattern] if fnmatch("/dev/nvme0", pattern) else [])
    assert detect.accelerator_present() is False


def test_torch_is_believed(monkeypatch):
    monkeypatch.setattr(detect, "_torch_sees_one", lambda: True)
    assert detect.accelerator_present() is True


@pytest.mark.parametrize(("status", "present"), [(0, True), (9, False)])
def test_nvidia_smi_counts_where_it_finds_a_device(monkeypatch, status, present):
    called = []

    def run(command, **options):
        called.append((command, options["timeout"]))
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr(detect.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(detect.subprocess, "run", run)
    assert detect.accelerator_present() is present
    assert called == [(["/bin/nvidia-smi"], 10)]


@pytest.mark.parametrize("error", [subprocess.TimeoutExpired("nvidia-smi", 10), PermissionError("no")])
def test_an_nvidia_smi_that_hangs_or_may_not_run_is_no_accelerator(monkeypatch, error):
    def run(command, **options):
        raise error

    monkeypatch.setattr(detect.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(detect.subprocess, "run", run)
    assert detect.accelerator_present() is False


@pytest.mark.parametrize(
    ("named", "present", "wanted"),
    [("cpu", True, True), (" CPU ", True, True), ("cuda", False, False), ("", True, False), ("", False, True)],
)
def test_verls_own_variable_wins_over_what_is_found(monkeypatch, named, present, wanted):
    monkeypatch.setenv("VERL_PLATFORM", named)
    monkeypatch.setattr(detect, "accelerator_present", lambda: present)
    assert detect.cpu_platform_wanted() is wanted


def test_the_host_is_asked_once(monkeypatch):
    assert detect.accelerator_present() is False
    monkeypatch.setattr(detect, "_torch_sees_one", lambda: True)
    assert detect.accelerator_present() is False
