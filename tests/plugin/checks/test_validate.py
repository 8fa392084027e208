"""Settings that cannot work stop the run with one line; what is changed for the CPU is printed."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig

import verl_gpo
from tests.conftest import flattened
from verl_gpo.config import ConfigError, GPOConfig
from verl_gpo.cpu.settings import adapt_to_cpu
from verl_gpo.plugin import attention
from verl_gpo.plugin.checks import accelerators, validate
from verl_gpo.plugin.checks.without_effect import reentry_selected, without_effect

YAML = Path(verl_gpo.__file__).parent / "trainer" / "config" / "gpo.yaml"
KNOWN = ", ".join(sorted(field.name for field in fields(GPOConfig)))
ROLLOUT = "actor_rollout_ref.rollout"


@pytest.fixture
def on_cpu(monkeypatch):
    """The driver finds no accelerator and starts Ray itself."""
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: True)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def on_gpu(monkeypatch):
    """An accelerator, and all that goes with it: tests/plugin/test_attention.py has the rest."""
    monkeypatch.setattr(attention, "flash_attention_installed", lambda: True)
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


# ------------------------------------------------------------------------------------------------ the packaged YAML


def test_yaml_has_every_field_and_sets_only_the_preset():
    block = yaml.safe_load(YAML.read_text())["algorithm"]["gpo"]
    assert list(block) == [field.name for field in fields(GPOConfig)]
    assert {key: value for key, value in block.items() if value is not None} == {"preset": "paper"}


def test_yaml_selects_estimator_manager_and_sampler(compose):
    from verl.utils.import_utils import load_class_from_fqn, load_extern_object

    from verl_gpo.plugin import replay_buffer, worker

    config = compose()
    assert config.algorithm.adv_estimator == "gpo" and config.actor_rollout_ref.rollout.n == 8
    assert reentry_selected(config)
    manager = config.actor_rollout_ref.rollout.agent.agent_loop_manager_class
    assert load_class_from_fqn(manager, "AgentLoopManager") is worker.ReentryManager
    sampler = config.trainer.v1.sampler
    build = load_extern_object(sampler.custom_sampler.path, sampler.custom_sampler.name)
    assert build is replay_buffer.build_replay_buffer and sampler.sampler_kwargs.poll_interval == 0.2


def test_yaml_changes_nothing_else_of_verls(compose):
    ours, verls = flattened(compose()), flattened(compose(config_name="ppo_trainer"))
    changed = {key for key in ours.keys() | verls.keys() if ours.get(key) != verls.get(key)}
    allowed = (
        "algorithm.gpo.",
        "algorithm.adv_estimator",
        f"{ROLLOUT}.n",
        f"{ROLLOUT}.agent.agent_loop_manager_class",
        "trainer.v1.sampler.",
    )
    assert changed and not [key for key in changed if not key.startswith(allowed)]


# ----------------------------------------------------------------------------------------------------------- checks


def test_a_valid_configuration_passes_and_comes_back_parsed(compose, run_overrides):
    assert validate.check(compose(*run_overrides)) == GPOConfig()
    gpo = validate.check(compose(*run_overrides, "algorithm.gpo.preset=fast", "algorithm.gpo.n_mc=8"))
    assert gpo == GPOConfig.from_mapping({"preset": "fast", "n_mc": 8}) and gpo.search == "adaptive"


BAD = {
    ("algorithm.gpo.n_mc=-1",): "algorithm.gpo.n_mc=-1: must be an integer of at least 1",
    ("algorithm.gpo.n_mc=2.5",): "algorithm.gpo.n_mc=2.5: must be an integer of at least 1",
    ("+algorithm.gpo.nmc=3",): f"algorithm.gpo.nmc=3: no such key; did you mean n_mc? known are {KNOWN}",
    ("+algorithm.gpo.zzz=3",): f"algorithm.gpo.zzz=3: no such key; known are {KNOWN}",
    ("algorithm.gpo.rule=argmx",): "algorithm.gpo.rule='argmx': must be one of argmax, abs, argmin, random",
    (
        "algorithm.gpo.preset=slow",
    ): "algorithm.gpo.preset='slow': must be one of paper, fast, lean, vineppo, spo, authors, pods",
    ("algorithm.gpo=fast",): "algorithm.gpo='fast': must be a block of settings",
    (f"{ROLLOUT}.n=1",): f"{ROLLOUT}.n=1: must be at least 2 with adv_estimator=gpo: it compares rollouts",
    (
        f"{ROLLOUT}.n=1",
        "algorithm.adv_estimator=grpo",
    ): f"{ROLLOUT}.n=1: must be at least 2 with adv_estimator=grpo: it compares rollouts",
    (
        "algorithm.gpo.splitter=low_prob",
        "algorithm.gpo.splitter_option=0.3",
        f"{ROLLOUT}.calculate_log_probs=false",
    ): f"{ROLLOUT}.calculate_log_probs=False: must be true with algorithm.gpo.splitter=low_prob, which cuts where the "
    "rollout's tokens were improbable",
    (
        "algorithm.gpo.search=informative",
        f"{ROLLOUT}.calculate_log_probs=false",
    ): f"{ROLLOUT}.calculate_log_probs=False: must be true with algorithm.gpo.search=informative, which uses the "
    "log-probs of the rollout's tokens",
    (
        "algorithm.gpo.splitter=tokens",
    ): "algorithm.gpo.splitter_option='': tokens needs an option: an integer of at least 1",
    (
        "reward.reward_model.enable=true",
    ): "reward.reward_model.enable_resource_pool=False: must be true with re-entry: a colocated reward model cannot "
    "score while the policy samples",
    (
        "trainer.v1.trainer_mode=separate_async",
    ): "trainer.v1.trainer_mode='separate_async': must be one of sync, colocate_async with re-entry: separate_async, "
    "whose rollouts need accelerators of their own, has not been verified with it",
    (
        "algorithm.adv_estimator=remax",
    ): "algorithm.adv_estimator='remax': must be another with re-entry, say gpo, grpo, rloo or gae: remax takes its "
    "baseline from a greedy rollout of the prompt, and a reset state has none",
    (
        "algorithm.filter_groups.enable=true",
        "trainer.v1.sampler.custom_sampler.name=null",
    ): "trainer.v1.sampler.custom_sampler.name=None: must be build_replay_buffer, with path and sampler_kwargs as in "
    "verl_gpo's gpo.yaml, for algorithm.filter_groups with re-entry: verl's own buffer would take re-entry rollouts "
    "for roots",
    (
        "algorithm.filter_groups.enable=true",
        "algorithm.gpo.skip_groups=mixed",
    ): "algorithm.gpo.skip_groups='mixed': must be another value with algorithm.filter_groups, which drops all groups "
    "except the mixed ones",
    ("algorithm.adv_estimator=reinforce_plus_plus",): "algorithm.adv_estimator='reinforce_plus_plus': must be gpo with "
    "algorithm.gpo.base_estimator=reinforce_plus_plus: verl's own takes one baseline from all rows, so roots and "
    "re-entry rollouts would share it",
    (
        "algorithm.adv_estimator=grpo_passk",
    ): "algorithm.adv_estimator='grpo_passk': must be another with re-entry, say gpo or rloo: grpo_passk raises an "
    "error for a group of one row, and a padding row may be such a group",
    (
        "algorithm.gpo.base_estimator=gae",
    ): "algorithm.gpo.base_estimator='gae': must be one of grpo, rloo, opo, gpg, reinforce_plus_plus, "
    "reinforce_plus_plus_baseline",
    (
        "algorithm.adv_estimator=rloo",
        "algorithm.gpo.reentry_weight=2",
    ): "algorithm.gpo.reentry_weight=2: is read with algorithm.adv_estimator=gpo only, and algorithm.adv_estimator "
    "is rloo",
    (
        "algorithm.gpo.base_estimator=rloo",
        "algorithm.gpo.exp_beta=0.5",
    ): "algorithm.gpo.exp_beta=0.5: is read with base_estimator=grpo only, and base_estimator is rloo",
    (
        "algorithm.gpo.rows=widened",
        "trainer.v1.sampler.custom_sampler.name=null",
    ): "trainer.v1.sampler.custom_sampler.name=None: must be build_replay_buffer, as in verl_gpo's gpo.yaml: it "
    "fits the mini-batches (rows=widened)",
    (
        "algorithm.gpo.rows=matched",
        f"{ROLLOUT}.n=5",
    ): f"{ROLLOUT}.n=5: must be at least 6 with algorithm.gpo.rows=matched: 1 x 4 rows (anchors x n_reentry) of it are "
    "kept for re-entry",
    ("trainer.use_v1=false",): "trainer.use_v1=False: must be true: re-entry runs in verl's v1 trainer",
    (
        f"{ROLLOUT}.enable_rollout_routing_replay=true",
    ): f"{ROLLOUT}.enable_rollout_routing_replay=True: must be false with re-entry: a continuation does not carry its "
    "prefix's routing",
}


@pytest.mark.parametrize("overrides", BAD, ids=" ".join)
def test_a_setting_that_cannot_work_is_refused_in_one_line(compose, run_overrides, overrides):
    with pytest.raises(ConfigError) as refused:
        validate.check(compose(*run_overrides, *overrides))
    assert str(refused.value) == BAD[overrides]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        (f"{ROLLOUT}.n=1", "algorithm.adv_estimator=gae"),
        ("algorithm.gpo.splitter=tokens", "algorithm.gpo.splitter_option=64"),
        ("reward.reward_model.enable=true", "reward.reward_model.enable_resource_pool=true"),
        ("trainer.v1.trainer_mode=colocate_async",),
        ("algorithm.filter_groups.enable=true",),
        ("algorithm.gpo.rows=matched", f"{ROLLOUT}.n=6"),
        ("algorithm.gpo.rows=matched", f"{ROLLOUT}.n=5", "algorithm.adv_estimator=gae"),
        ("algorithm.gpo.base_estimator=reinforce_plus_plus", f"{ROLLOUT}.n=1"),
        ("algorithm.gpo.exp_beta=0.5", "algorithm.gpo.reentry_weight=2"),
        # Without re-entry nothing of verl's is forbidden.
        ("algorithm.gpo.enable=false", "trainer.v1.trainer_mode=separate_async", "algorithm.filter_groups.enable=true"),
        ("algorithm.gpo.enable=false", "algorithm.adv_estimator=remax"),
    ],
    ids=" ".join,
)
def test_what_can_work_is_allowed(compose, run_overrides, overrides):
    validate.check(compose(*run_overrides, *overrides))


def test_verls_own_configuration_is_left_to_verl(compose):
    stock = compose("algorithm.adv_estimator=grpo", f"{ROLLOUT}.n=1", config_name="ppo_trainer")
    assert validate.check(stock) == GPOConfig()
    assert without_effect(stock, GPOConfig()) == []


# ------------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("data.train_files", "/no/such/train.parquet"),
        ("data.val_files", "no-such.parquet"),
        ("actor_rollout_ref.model.path", "/no/such/model"),
        ("actor_rollout_ref.model.path", "./no-such-model"),
        ("reward.custom_reward_function.path", "no-such-reward.py"),
    ],
)
def test_a_missing_file_is_named(compose, run_overrides, on_gpu, key, path):
    with pytest.raises(ConfigError) as refused:
        validate.prepare(compose(*run_overrides, f"{key}={path}"))
    assert str(refused.value) == f"{key}='{path}': no such file or folder"


def test_one_missing_file_of_several_is_named(compose, run_overrides, tiny_run, on_gpu):
    files = f"data.train_files=[{tiny_run}/train.parquet,/no/such.parquet]"
    with pytest.raises(ConfigError, match=r"^data.train_files='/no/such.parquet': no such file or folder$"):
        validate.prepare(compose(*run_overrides, files))


def test_given_steps_have_to_be_in_the_training_set(compose, run_overrides, tiny_run, on_gpu, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = (*run_overrides, "algorithm.gpo.search=given", "data.train_batch_size=1")
    validate.prepare(compose(*given))  # the arithmetic task's rows have them
    pq.write_table(pa.table({"prompt": ["x"], "extra_info": [{"index": 1}]}), tmp_path / "train.parquet")
    said = r"^algorithm.gpo.search='given': needs extra_info.hard_steps in each row; .* has index$"
    with pytest.raises(ConfigError, match=said):
        validate.prepare(compose(*given, f"data.train_files={tmp_path}/train.parquet"))
    pq.write_table(pa.table({"prompt": ["x"], "extra_info": [{"hard_steps": [1]}]}), tmp_path / "train.parquet")
    validate.prepare(compose(*given, f"data.train_files={tmp_path}/train.parquet"))
    pq.write_table(pa.table({"prompt": ["x"], "extra_info": [{"hard_steps": ["one"]}]}), tmp_path / "train.parquet")
    with pytest.raises(ConfigError, match=r"needs lists of integers in extra_info.hard_steps; .* has list<"):
        validate.prepare(compose(*given, f"data.train_files={tmp_path}/train.parquet"))
    pq.write_table(pa.table({"prompt": ["x"]}), tmp_path / "train.parquet")
    with pytest.raises(ConfigError, match="has none$"):
        validate.prepare(compose(*given, f"data.train_files={tmp_path}/train.parquet"))


@pytest.mark.parametrize("path", ["Qwen/Qwen2.5-0.5B", "hdfs://node/model"])
def test_what_is_not_local_is_left_to_verl(compose, run_overrides, on_gpu, path):
    validate.prepare(compose(*run_overrides, f"actor_rollout_ref.model.path={path}"))


def test_a_cluster_that_is_joined_may_have_the_files(compose, run_overrides, on_cpu, monkeypatch):
    missing = (*run_overrides, "data.train_files=/no/such.parquet")
    with pytest.raises(ConfigError):
        validate.prepare(compose(*missing))
    monkeypatch.setattr(accelerators, "cluster_nodes", lambda joined, folder: [{"CPU": 64.0, "GPU": 8.0}])
    joined = compose(*missing, "+ray_kwargs.ray_init.address=auto")
    before = flattened(joined)
    validate.prepare(joined)  # nor is it adapted to this host's CPU: the workers are told their platform, that is all
    assert flattened(joined) == before | {accelerators.PASSED_ON: "nvidia"}
    monkeypatch.setenv("RAY_ADDRESS", "1.2.3.4:6379")
    validate.prepare(compose(*missing))


# --------------------------------------------------------------------------------------------------- the CPU at last


def test_with_an_accelerator_nothing_is_changed(compose, run_overrides, on_gpu, capsys):
    config = compose(*run_overrides)
    before = flattened(config)
    validate.prepare(config)
    assert flattened(config) == before and capsys.readouterr().out == ""


def test_each_change_is_printed(compose, run_overrides, on_cpu, capsys):
    config, same = compose(*run_overrides), compose(*run_overrides)
    lines = adapt_to_cpu(same)
    validate.prepare(config)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "verl_gpo: no accelerator on this host, running on the CPU. Settings changed:"
    assert printed[1:] == [f"  {line}" for line in lines]
    validate.prepare(config)
    assert capsys.readouterr().out == ""


# --------------------------------------------------------------------------------------------- in front of verl's own


def test_settings_are_checked_before_verls_own_validation(compose, run_overrides, on_cpu, monkeypatch):
    import verl.utils.config as verl_config

    called = []
    monkeypatch.setattr(verl_config, "validate_config", lambda config, **kwargs: called.append(kwargs) or "verl's")
    validate.install()
    installed = verl_config.validate_config
    validate.install()  # a second time changes nothing
    assert verl_config.validate_config is installed
    arguments = {"use_reference_policy": False, "use_critic": False}
    with pytest.raises(SystemExit) as stopped:
        installed(compose(*run_overrides, "algorithm.gpo.n_mc=0"), **arguments)
    assert stopped.value.code == "verl_gpo: algorithm.gpo.n_mc=0: must be an integer of at least 1"
    assert called == []
    config = compose(*run_overrides)
    assert installed(config=config, **arguments) == "verl's" and called == [arguments]
    assert isinstance(config, DictConfig) and config.trainer.device == "cpu"
    assert "zygote" in config.ray_kwargs.ray_init.runtime_env.py_executable


def test_the_users_own_python_executable_is_kept(compose, run_overrides):
    config = compose(*run_overrides, "+ray_kwargs.ray_init.runtime_env.py_executable=python3")
    validate._fork_workers(config)
    assert config.ray_kwargs.ray_init.runtime_env.py_executable == "python3"


def test_a_typing_error_ends_the_command_with_one_line(run_overrides, tmp_path):
    command = [sys.executable, "-m", "verl.trainer.main_ppo"]
    command += ["--config-path", "pkg://verl_gpo.trainer.config", "--config-name", "gpo_trainer"]
    result = subprocess.run(
        [*command, *run_overrides, "+algorithm.gpo.n_mcs=4", f"hydra.run.dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
    )
    assert result.returncode == 1
    said = [line for line in (result.stdout + result.stderr).splitlines() if "verl_gpo: " in line]
    assert said == [f"verl_gpo: algorithm.gpo.n_mcs=4: no such key; did you mean n_mc? known are {KNOWN}"]
    assert result.stderr.splitlines()[-1] == said[0]  # nothing after it, so no traceback either
    assert "Traceback" not in result.stderr and "Started a local Ray instance" not in result.stdout + result.stderr
