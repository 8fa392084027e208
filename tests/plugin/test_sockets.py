"""Both ends of the weights' socket have a name of their own run; verl's real classes, in processes of their own."""

import os
import subprocess
import sys

import pytest

from verl_gpo.plugin.observe import STARTED
from verl_gpo.plugin.sockets import own

HANDLE = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"
PROGRAM = f"""
import sys
import verl
from verl_gpo.plugin import sockets
assert sockets.MODULE not in sys.modules
sockets.activate()
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver, BucketedWeightSender
sockets.activate()
print(BucketedWeightSender(zmq_handle="{HANDLE}", bucket_size_mb=1, use_shm=True).zmq_handle)
print(BucketedWeightReceiver("{HANDLE}", None, use_shm=True).zmq_handle)
"""


def ends(**variables):
    environment = {key: value for key, value in os.environ.items() if key != STARTED}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, env={**environment, **variables}
    )
    assert result.returncode == 0, result.stderr
    return [line for line in result.stdout.splitlines() if line.startswith("ipc:")]  # vLLM prints, too


def test_both_ends_have_the_name_of_their_run():
    one = "ipc:///tmp/rl-colocate-zmq-1795814602.945-01000000-replica-0-rank-0.sock"
    assert ends(**{STARTED: "1795814602.945"}) == [one, one]
    assert len(one.removeprefix("ipc://")) < 107  # the limit of a socket's name


def test_without_a_driver_that_says_so_the_name_is_verls():
    assert ends() == [HANDLE, HANDLE]


@pytest.mark.parametrize("handle", ["tcp://127.0.0.1:5555", "ipc:///tmp/other.sock"])
def test_another_socket_is_left_alone(handle):
    assert own(handle, "1.0") == handle
