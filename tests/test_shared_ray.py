"""Trainings that share a Ray: the protocol between recipe and server, with a fake training in verl's place."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from scripts import shared_ray
from tests.conftest import REPOSITORY

# The client and the server as they are, and a training that writes down what it was given.
STAND_IN = """
import os, sys
sys.path.insert(0, {repository!r})
from scripts import shared_ray

def train(arguments, environment):
    print("trained with", arguments, environment, os.getpid(), flush=True)
    if "fail" in arguments:
        raise RuntimeError("no such optimizer")
    if "refuse" in arguments:
        sys.exit("verl_gpo: algorithm.gpo.n_mc=-1: must be an integer of at least 1")
    return 0

shared_ray.__file__ = __file__
if len(sys.argv) == 2:
    shared_ray.serve(sys.argv[1], train)
else:
    sys.exit(shared_ray.submit(sys.argv[1], sys.argv[2], sys.argv[3:]))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN.format(repository=str(REPOSITORY)))
    monkeypatch.setattr(shared_ray, "__file__", str(program))
    return program


def training(ray, folder, *arguments, **environment):
    """What a recipe does at its end."""
    return subprocess.run(
        ["bash", "-c", f'exec "{sys.executable}" $MAIN {" ".join(arguments)}'],
        env={**os.environ, **ray.environment, **environment},
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
    )


@pytest.fixture
def run(program, tmp_path):
    with shared_ray.SharedRay(tmp_path / "logs" / "server.log") as ray:
        yield partial(training, ray, tmp_path)


def server_of(result):
    return result.stdout.split()[-1]


def test_runs_share_a_server_and_speak_into_their_own_output(run):
    first = run("a=1", "b=2", VERL_FILE_LOGGER_PATH="/somewhere/first")
    second = run("c=3", VERL_FILE_LOGGER_PATH="/somewhere/second")
    assert first.returncode == second.returncode == 0
    assert "['a=1', 'b=2'] {'VERL_FILE_LOGGER_PATH': '/somewhere/first'}" in first.stdout
    assert "['c=3'] {'VERL_FILE_LOGGER_PATH': '/somewhere/second'}" in second.stdout
    assert server_of(first) == server_of(second)


@pytest.mark.parametrize(
    ("argument", "message"),
    [("fail", "RuntimeError: no such optimizer"), ("refuse", "must be an integer of at least 1")],
)
def test_a_run_that_fails_says_why_and_the_next_has_another_server(run, argument, message):
    before = run("a=1")
    failed = run(argument)
    after = run("a=1")
    assert failed.returncode == 1 and message in failed.stderr
    assert after.returncode == 0 and server_of(after) != server_of(before)


def test_the_server_ends_with_the_block(program, tmp_path):
    with shared_ray.SharedRay(tmp_path / "server.log") as ray:
        pid = server_of(training(ray, tmp_path, "a=1"))
        assert os.path.exists(f"/proc/{pid}")
    until = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.05)


def test_a_server_that_cannot_start_is_reported(tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(3)")
    monkeypatch.setattr(shared_ray, "__file__", str(broken))
    with pytest.raises(RuntimeError, match=r"the server ended with status 3; its output: .*log$"):
        shared_ray.submit(str(tmp_path / "socket"), str(tmp_path / "log"), [])
