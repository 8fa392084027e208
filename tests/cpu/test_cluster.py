"""Which cluster Ray would join, in Ray's own order; and the nodes of a cluster are not taken for hosts of a CPU run."""

import pytest

from verl_gpo.cpu import detect
from verl_gpo.cpu.cluster import joined_cluster

FILE = "ray_current_cluster"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ray's folder, empty, and no variable of Ray's or verl's."""
    for name in ("RAY_ADDRESS", "VERL_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


def test_without_a_sign_of_a_cluster_ray_is_started_here(folder):
    assert joined_cluster() is None and joined_cluster("local") is None


def test_the_configured_address_comes_before_the_variable_and_the_variable_before_the_file(folder, monkeypatch):
    (folder / FILE).write_text("3.3.3.3:6379\n")
    assert joined_cluster() == (str(folder / FILE), "3.3.3.3:6379")
    monkeypatch.setenv("RAY_ADDRESS", "2.2.2.2:6379")
    assert joined_cluster() == joined_cluster("auto") == ("RAY_ADDRESS", "2.2.2.2:6379")
    assert joined_cluster("1.1.1.1:6379") == ("ray_kwargs.ray_init.address", "1.1.1.1:6379")
    assert joined_cluster("local") is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert joined_cluster() is None


def test_auto_is_the_file_or_whatever_runs(folder, monkeypatch):
    assert joined_cluster("auto") == ("ray_kwargs.ray_init.address", "auto")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert joined_cluster() == ("RAY_ADDRESS", "auto")
    (folder / FILE).write_text("3.3.3.3:6379")
    assert joined_cluster().address == "3.3.3.3:6379"


def test_rays_folder_may_be_another(folder, tmp_path):
    (tmp_path / FILE).write_text("4.4.4.4:6379")
    assert joined_cluster(None, str(tmp_path)).address == "4.4.4.4:6379" and joined_cluster() is None


def test_the_order_is_rays(folder, monkeypatch):
    """Ray's own function, which is private, agrees."""
    from ray._private.services import canonicalize_bootstrap_address

    (folder / FILE).write_text("3.3.3.3:6379")
    cases = [(None, ""), ("1.1.1.1:1", "2.2.2.2:2"), ("local", ""), (None, "local"), (None, "2.2.2.2:2")]
    for configured, variable in cases:
        monkeypatch.setenv("RAY_ADDRESS", variable)
        joined = joined_cluster(configured)
        assert canonicalize_bootstrap_address(configured) == (joined and joined.address)


@pytest.mark.parametrize(
    ("accelerator", "platform", "in_cluster", "wanted"),
    [
        (False, None, False, True),
        (True, None, False, False),
        (False, None, True, False),  # the head of a GPU cluster, say
        (False, "cpu", True, True),
        (False, "nvidia", False, False),
        (True, "cpu", False, True),
    ],
)
def test_who_runs_verl_on_the_cpu(folder, monkeypatch, accelerator, platform, in_cluster, wanted):
    monkeypatch.setattr(detect, "accelerator_present", lambda: accelerator)
    if platform:
        monkeypatch.setenv("VERL_PLATFORM", platform)
    if in_cluster:
        (folder / FILE).write_text("3.3.3.3:6379")
    assert detect.cpu_platform_wanted.__wrapped__() is wanted
