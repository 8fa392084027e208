"""Machines that are not this one: with and without an accelerator, and what is installed on them."""

import pytest

from verl_gpo.doctor import machine, software, versions


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
    """What the new processes say."""

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
