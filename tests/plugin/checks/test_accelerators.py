"""Where a run computes is decided by the resources of the cluster that it joins, and every worker is told."""

import json

import pytest
from omegaconf import OmegaConf
from verl.plugin.platform import get_platform, set_platform
from verl.plugin.platform.platform_manager import PlatformRegistry

from verl_gpo.config import ConfigError
from verl_gpo.plugin.checks import accelerators, validate
from verl_gpo.plugin.checks.accelerators import PASSED_ON

ADDRESS, METRICS = "ray_kwargs.ray_init.address", "VERL_FILE_LOGGER_PATH"
GPUS, CPUS = {"CPU": 64.0, "GPU": 8.0, "node:10.0.0.1": 1.0}, {"CPU": 8.0}


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """``cluster(resources)``: what the cluster has. The driver's own host has no accelerator."""
    for name in ("RAY_ADDRESS", "VERL_PLATFORM", "RAY_JOB_CONFIG_JSON_ENV_VAR", METRICS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: True)
    before, asked = get_platform(), []

    def has(resources):
        monkeypatch.setattr(
            accelerators, "cluster_nodes", lambda joined, folder: asked.append(joined.address) or [resources]
        )
        return asked

    yield has
    set_platform(before)


def decided(config):
    decision = accelerators.decide(config)
    accelerators.pass_on(config, decision)
    return decision.platform, OmegaConf.select(config, PASSED_ON)


def test_a_head_without_accelerator_of_a_gpu_cluster_is_not_the_cpu(merged, cluster):
    asked = cluster(GPUS)
    set_platform(PlatformRegistry.get("cpu")())  # as at import, when the configuration was not known
    config = merged(f"{ADDRESS}=1.2.3.4:6379")
    assert decided(config) == ("nvidia", "nvidia")
    assert asked == ["1.2.3.4:6379"]
    assert type(get_platform()) is PlatformRegistry.get("nvidia")
    assert (config.trainer.device, config.trainer.n_gpus_per_node) == ("cuda", 8)


def test_the_whole_preparation_leaves_such_a_configuration_alone_but_for_the_platform(merged, cluster, monkeypatch):
    cluster(GPUS)
    monkeypatch.setenv("RAY_ADDRESS", "1.2.3.4:6379")
    config = merged()
    expected = config.copy()
    OmegaConf.update(expected, PASSED_ON, "nvidia", force_add=True)
    assert not validate.prepare(config).cpu
    assert config == expected


def test_the_file_that_ray_start_leaves_counts_as_joining(merged, cluster, tmp_path):
    asked = cluster(GPUS)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("5.6.7.8:6379")
    assert decided(merged()) == ("nvidia", "nvidia") and asked == ["5.6.7.8:6379"]


def test_the_file_of_the_metrics_is_passed_on_as_a_full_path(merged, cluster, monkeypatch, tmp_path):
    cluster(GPUS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(METRICS, "out/it's.jsonl")
    key = f"ray_kwargs.ray_init.runtime_env.env_vars.{METRICS}"
    joined, local = f"{ADDRESS}=1.2.3.4:6379", f"{ADDRESS}=local"  # a Ray that is started here has this environment
    for given, expected in (
        ([joined], f"{tmp_path}/out/it's.jsonl"),
        ([joined, f"{key}=/mine"], "/mine"),
        ([local], None),
    ):
        config = merged(*given)
        decided(config)
        assert OmegaConf.select(config, key) == expected


def test_npus_are_named_with_their_device(merged, cluster):
    cluster({"CPU": 8.0, "NPU": 8.0})
    config = merged(f"{ADDRESS}=1.2.3.4:6379")
    assert decided(config) == ("huawei", "huawei")
    assert config.trainer.device == "npu"


def test_without_a_cluster_this_host_decides_and_nobody_is_asked(merged, cluster, monkeypatch):
    asked = cluster(GPUS)
    assert decided(merged()) == ("cpu", None) and asked == []  # the settings for the CPU name it
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: False)
    assert decided(merged()) == (None, None) and asked == []


def test_workers_of_a_ray_that_is_started_here_are_told_of_the_cpu(merged):
    from verl_gpo.cpu.settings import adapt_to_cpu

    config = merged()
    assert f"{PASSED_ON}: None -> cpu" in adapt_to_cpu(config)
    assert OmegaConf.select(config, PASSED_ON) == "cpu"


def test_a_platform_that_is_named_is_passed_on(merged, cluster, monkeypatch):
    cluster(GPUS)
    monkeypatch.setenv("VERL_PLATFORM", " AMD ")
    assert decided(merged(f"{ADDRESS}=1.2.3.4:6379")) == ("amd", "amd")
    assert decided(merged(f"{ADDRESS}=1.2.3.4:6379", f"{PASSED_ON}=nvidia")) == ("nvidia", "nvidia")


def test_a_cluster_of_cpus_is_adapted_to_by_name_and_its_ray_is_left_alone(merged, cluster, monkeypatch, capsys):
    cluster({"CPU": 8.0, "GPU": 1.0})  # ray start --head --num-gpus=1
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    config = merged(f"{ADDRESS}=1.2.3.4:6379", "trainer.n_gpus_per_node=1")
    decision = validate.prepare(config)
    assert decision.cpu and config.trainer.device == "cpu" and OmegaConf.select(config, PASSED_ON) == "cpu"
    ray = config.ray_kwargs.ray_init  # Ray refuses these when it joins
    assert ray.num_cpus is None and "num_gpus" not in ray and "include_dashboard" not in ray
    assert capsys.readouterr().out.startswith("verl_gpo: VERL_PLATFORM=cpu, running on the CPU. Settings changed:")


@pytest.mark.parametrize(
    ("resources", "named", "said"),
    [
        (CPUS, None, "must be a cluster with accelerators; this one has 8 CPU. To run on CPUs, start Ray with"),
        (CPUS, "cpu", "must be a cluster with accelerators of VERL_PLATFORM=cpu; this one has 8 CPU. To run on CPUs"),
        (
            GPUS,
            "huawei",
            "must be a cluster with accelerators of VERL_PLATFORM=huawei; this one has 64 CPU, 8 GPU.",
        ),
    ],
)
def test_a_cluster_on_which_verl_would_wait_for_ever_is_refused(merged, cluster, monkeypatch, resources, named, said):
    cluster(resources)
    monkeypatch.setenv("RAY_ADDRESS", "1.2.3.4:6379")
    if named:
        monkeypatch.setenv("VERL_PLATFORM", named)
    with pytest.raises(ConfigError) as refused:
        accelerators.decide(merged())
    assert str(refused.value).startswith(f"RAY_ADDRESS='1.2.3.4:6379': {said}")


def test_a_cluster_that_does_not_answer_is_refused_in_one_line(merged, cluster, monkeypatch):
    def nobody(joined, folder):
        raise ConnectionError("Failed to connect to Ray cluster at 1.2.3.4:6379")

    monkeypatch.setattr(accelerators, "cluster_nodes", nobody)
    with pytest.raises(ConfigError) as refused:
        accelerators.decide(merged(f"{ADDRESS}=1.2.3.4:6379"))
    assert str(refused.value) == (
        f"{ADDRESS}='1.2.3.4:6379': must be a Ray cluster that runs; no answer from it (Failed to connect to Ray "
        "cluster at 1.2.3.4:6379)"
    )


def test_a_vendors_platform_is_left_to_find_itself(merged, cluster, monkeypatch):
    cluster(GPUS)
    monkeypatch.setitem(PlatformRegistry._platforms, "metax", PlatformRegistry.get("nvidia"))
    assert decided(merged(f"{ADDRESS}=1.2.3.4:6379")) == (None, None)


def test_a_variable_that_the_job_has_given_is_not_given_twice(merged, cluster, monkeypatch):
    cluster(GPUS)
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    job = {"runtime_env": {"env_vars": {"VERL_PLATFORM": "nvidia"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    assert decided(merged(f"{ADDRESS}=1.2.3.4:6379")) == ("nvidia", None)
