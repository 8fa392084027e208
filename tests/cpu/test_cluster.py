"""Which cluster Ray would join, in Ray's own order; and the nodes of a cluster are not taken for hosts of a CPU run."""

import socket
import time

import pytest

from verl_gpo.cpu import cluster, detect
from verl_gpo.cpu.cluster import Joined, cluster_nodes, joined_cluster

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


def refused(address):
    with pytest.raises(ConnectionError) as error:
        cluster_nodes(Joined("RAY_ADDRESS", address))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:{closed}", "refused"),
        ("ray://127.0.0.1:{closed}", "refused"),
        ("nowhere.invalid:6379", "not known"),
        ("127.0.0.1:port", "port"),
        ("127.0.0.1:99999", "port"),
    ],
)
def test_an_address_where_nothing_listens_is_noticed_at_once(address, said):
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        began = time.monotonic()
        assert said in refused(address.format(closed=bound.getsockname()[1])).lower()
        assert time.monotonic() - began < 5


def test_who_listens_and_is_no_ray_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWERS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = refused(f"127.0.0.1:{listener.getsockname()[1]}")
    assert said == "it accepts connections, and within 3 s nothing answered as Ray"


def test_what_ray_says_is_passed_on_in_one_line():
    assert "head" in refused("head")  # no port, so Ray is asked: an address of another form


def test_a_process_that_ends_without_an_answer_is_told_by_its_last_line(monkeypatch):
    monkeypatch.setattr(cluster, "_ASK", "import sys; print('x', file=sys.stderr); sys.exit('it is gone')")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert refused("auto") == "it is gone"
    monkeypatch.delenv("RAY_AUTH_MODE")  # Ray does not say why a cluster with a token did not answer
    hint = "; a cluster whose nodes share a token answers with RAY_AUTH_MODE=token only"
    assert refused("auto") == f"it is gone{hint}"
    monkeypatch.setattr(cluster, "_ASK", "import os; os._exit(1)")
    assert refused("auto") == f"Ray ended{hint}"


def test_a_cluster_that_is_found_by_its_file_is_joined_as_ray_would(folder, monkeypatch):
    """By itself, Ray looks for a token only then."""
    monkeypatch.setattr(cluster, "_ASK", "import json, sys; print(json.dumps([{'asked': sys.argv[1:]}]))")
    monkeypatch.setattr(cluster, "_connect", lambda address: None)
    assert cluster_nodes(Joined("RAY_ADDRESS", "a:1")) == [{"asked": ["a:1", ""]}]
    assert cluster_nodes(Joined(str(folder / FILE), "a:1"), "/tmp/x") == [{"asked": ["auto", "/tmp/x"]}]
