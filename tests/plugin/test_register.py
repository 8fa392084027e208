"""verl finds GPO by itself, and a plugin that cannot be loaded says so. In processes of their own: verl is imported."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

pytest.importorskip("verl")


def python(program, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("VERL_PLATFORM", "VERL_USE_EXTERNAL_PLUGINS")}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, **variables},
    )


def test_entry_points_are_declared():
    declared = {
        (point.group, point.name, point.value)
        for group in ("verl.plugins", "vllm.general_plugins")
        for point in importlib.metadata.entry_points(group=group)
        if point.value.startswith("verl_gpo.")
    }
    assert declared == {
        ("verl.plugins", "verl_gpo", "verl_gpo.plugin.register"),
        ("vllm.general_plugins", "verl_gpo_cpu", "verl_gpo.cpu.vllm_plugin:activate"),
    }


IMPORT_VERL = """
import sys
import verl
from verl.plugin.platform import get_platform
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, get_adv_estimator_fn
from verl_gpo.cpu.detect import cpu_platform_wanted
import verl.utils.config
print("estimator", get_adv_estimator_fn("gpo").__module__)
print("settings are checked", hasattr(verl.utils.config.validate_config, "__wrapped__"))
print("platform is the CPU", get_platform().device_name == "cpu")
print("accelerator is missing", cpu_platform_wanted())
print("heavy", sorted({"vllm", "verl_gpo.plugin.worker"} & set(sys.modules)))
"""


def test_importing_verl_registers_everything():
    result = python(IMPORT_VERL)
    assert result.returncode == 0, result.stderr
    said = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines())
    assert said["estimator"] == "verl_gpo.plugin.estimator"
    assert said["settings are checked"] == "True"
    assert said["heavy"] == "[]"
    # The CPU is the platform exactly where there is nothing else.
    assert said["platform is the CPU"] == said["accelerator is missing"]


def test_another_platform_that_is_named_is_left_alone():
    program = "from verl_gpo.cpu import detect; print(detect.cpu_platform_wanted())"
    for platform, wanted in (("npu", "False"), ("cuda", "False"), (" CPU ", "True")):
        result = python(program, VERL_PLATFORM=platform)
        assert result.stdout.strip() == wanted, result.stderr


BROKEN = """
import sys
sys.modules["verl_gpo.plugin.estimator"] = None  # importing it raises ImportError
import verl
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
print("survived", "gpo" in ADV_ESTIMATOR_REGISTRY)
"""


def test_a_plugin_that_cannot_be_loaded_is_reported_once_with_its_cause():
    result = python(BROKEN)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "survived False"
    reports = [line for line in result.stderr.splitlines() if "could not be loaded as a verl plugin" in line]
    assert len(reports) == 1 and "GPO is not available" in reports[0]
    assert "ERROR" in reports[0]
    assert result.stderr.count("estimator") >= 1 and result.stderr.count("Traceback") == 1
