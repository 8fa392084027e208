"""Lines about Python, accelerators, shared memory and disks."""

import subprocess
from collections import namedtuple

import pytest

from verl_gpo.doctor import machine
from verl_gpo.doctor.__main__ import main
from verl_gpo.doctor.finding import NOTE, WRONG


def test_a_gpu_and_its_driver(gpu, monkeypatch):
    line = "NVIDIA H100 80GB HBM3, 81559 MiB, 580.65.06\n"
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        machine.subprocess, "run", lambda *args, **kwargs: subprocess.CompletedProcess(args, 0, 2 * line, "")
    )
    assert machine.driver().found == "2 x NVIDIA H100 80GB HBM3, 81559 MiB, driver 580.65.06"


def test_a_driver_that_does_not_answer(gpu, monkeypatch):
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        machine.subprocess, "run", lambda *args, **kwargs: subprocess.CompletedProcess(args, 9, said, "")
    )
    found = machine.driver()
    assert found.state == WRONG and said in found.found


def test_a_device_without_nvidia_smi_is_noted(gpu, monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.driver().state == NOTE


def test_a_machine_without_an_accelerator_runs_on_the_cpu(cpu):
    assert machine.driver().found == "none: runs are on the CPU (toy size)"


@pytest.mark.parametrize("error", [OSError("gone"), subprocess.TimeoutExpired("nvidia-smi", 30)])
def test_an_nvidia_smi_that_cannot_be_run_is_wrong(gpu, monkeypatch, error):
    def run(*arguments, **options):
        raise error

    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(machine.subprocess, "run", run)
    found = machine.driver()
    assert (found.state, found.found) == (WRONG, f"nvidia-smi: {type(error).__name__}")


Usage = namedtuple("Usage", "total used free")


def test_the_shared_memory_of_a_container(monkeypatch, capsys):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(2**26, 0, 2**26))
    assert main(["--only", "shm"]) == 1
    said = capsys.readouterr().out
    assert "shared memory" in said and "0.1 GiB free" in said and "--shm-size=16g" in said


def test_a_full_disk(monkeypatch, capsys):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(2**40, 2**40 - 2**30, 2**30))
    assert main(["--only", "disk"]) == 1
    said = capsys.readouterr().out
    assert "disk" in said and "1 GiB free" in said and "must be 10 GiB or more" in said


@pytest.mark.parametrize(("version", "code"), [((3, 9, 1), 1), ((3, 10, 0), 0), ((3, 12, 9), 0), ((3, 13, 0), 1)])
def test_the_version_of_python(monkeypatch, capsys, version, code):
    monkeypatch.setattr(machine.sys, "version_info", version)
    assert main(["--only", "python"]) == code
    assert ("must be 3.10, 3.11 or 3.12" in capsys.readouterr().out) == bool(code)
