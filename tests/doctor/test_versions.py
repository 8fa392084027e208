"""What is installed against what is pinned and locked."""

import pytest

from verl_gpo.doctor import versions
from verl_gpo.doctor.finding import NOTE, OK, WRONG

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
