"""Engines that this host cannot run are refused before Ray starts."""

import pytest

from verl_gpo.config import ConfigError
from verl_gpo.plugin.checks import backends
from verl_gpo.plugin.checks.backends import check_backends


def test_what_runs_here_passes(compose):
    check_backends(compose("actor_rollout_ref.rollout.name=vllm"), on_cpu=True)
    check_backends(compose(), on_cpu=True)  # the name is verl's to ask for


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("actor_rollout_ref.rollout.name=sglang", "name='sglang': must be vllm on a host without an accelerator"),
        ("model_engine=megatron", "strategy='megatron': must be fsdp or fsdp2 on a host without an accelerator"),
    ],
)
def test_what_needs_an_accelerator_is_refused_without_one(compose, override, said):
    with pytest.raises(ConfigError, match=said):
        check_backends(compose(override), on_cpu=True)


@pytest.mark.parametrize(
    ("override", "package"),
    [("actor_rollout_ref.rollout.name=sglang", "sglang"), ("model_engine=megatron", "megatron")],
)
def test_what_is_not_installed_is_refused_with_one_too(compose, monkeypatch, override, package):
    found = {"sglang": None, "megatron": None}
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: found.get(name, True))
    with pytest.raises(ConfigError, match=f"{package} is not installed in this environment"):
        check_backends(compose(override), on_cpu=False)
    found[package] = True
    check_backends(compose(override), on_cpu=False)
