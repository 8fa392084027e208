"""A Ray cluster of a head without devices and two nodes with one each, all on this machine, with a token.

The nodes are started as the recipes' scripts and pages say. The devices are Ray's bookkeeping alone, so the training is
one on CPUs.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY, flattened, read_metrics
from tests.e2e.conftest import RECIPE, TIMEOUT, common
from tests.e2e.test_training import assert_rollout_and_actor_agree, assert_searched
from verl_gpo.cpu import zygote
from verl_gpo.cpu.cluster import Joined, cluster_nodes
from verl_gpo.plugin.checks import accelerators, validate

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]
BIN = Path(sys.executable).parent


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """Processes of ``ray start --block``, their addresses, and the environment that reaches them."""

    def __init__(self, folder):
        self.folder = folder
        self.address, self.dashboard = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder),  # of the token
            "RAY_TMPDIR": str(folder),
            "RAY_AUTH_MODE": "token",
            "RAY_prestart_worker_first_driver": "0",  # one for each CPU that a node says it has
        }
        self._nodes = []
        subprocess.run(["ray", "get-auth-token", "--generate"], env=self.environment, check=True, capture_output=True)

    def start(self, name, *arguments):
        log = (self.folder / f"{name}.log").open("wb")
        # Ray would take a third of the memory for each node's objects.
        command = ["ray", "start", *arguments, f"--object-store-memory={500 << 20}", "--disable-usage-stats", "--block"]
        self._nodes.append(
            subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        )

    def wait_for(self, nodes):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if len(cluster_nodes(Joined("RAY_ADDRESS", self.address))) == nodes:
                    return
            except ConnectionError as error:
                said = error
            time.sleep(0.5)
        logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in self.folder.glob("*.log"))
        raise AssertionError(f"the nodes did not come up: {said}\n{logs}")

    def stop(self):
        """End each node with all of its processes."""
        every = [child for node in self._nodes for child in psutil.Process(node.pid).children(recursive=True)]
        for node in reversed(self._nodes):
            node.send_signal(signal.SIGTERM)
        for node in self._nodes:
            try:
                node.wait(15)
            except subprocess.TimeoutExpired:
                node.kill()
        _, alive = psutil.wait_procs(every, timeout=5)
        for process in alive:
            process.kill()


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="ray_"))  # a short path: Ray's sockets are in it
    made = Cluster(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("RAY_")]:
                patch.delenv(name)
            for name in ("HOME", "RAY_AUTH_MODE"):
                patch.setenv(name, made.environment[name])
            port, dashboard = (address.rpartition(":")[2] for address in (made.address, made.dashboard))
            made.start(
                "head",
                *("--head", "--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={dashboard}"),
                *("--num-cpus=8", "--num-gpus=0", f"--dashboard-agent-listen-port={free_port()}"),
            )
            made.wait_for(1)
            for number in (2, 3):  # one after the other: two at once would give their sockets the same names
                made.start(
                    f"node{number}",
                    *(f"--address={made.address}", f"--node-ip-address=127.0.0.{number}"),
                    *("--num-cpus=6", "--num-gpus=1", f"--dashboard-agent-listen-port={free_port()}"),
                )
                made.wait_for(number)
            yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run(command, environment, folder, timeout=TIMEOUT):
    """Exit status, and what was written; whatever it has started ends with it."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


def test_the_arithmetic_recipe_trains_on_two_nodes(cluster, arithmetic_data, tmp_path):
    environment = {
        **cluster.environment,
        "RAY_ADDRESS": cluster.address,
        "VERL_PLATFORM": "cpu",
        "VERL_FILE_LOGGER_PATH": str(tmp_path / "metrics.jsonl"),
    }
    # On each node, workers are forked from one process. Ray has a shell expand the command there.
    forked = f"{sys.executable} -I -S {zygote.__file__} {cluster.folder}/zygote-$RAY_RAYLET_PID"
    status, log = run(
        [
            sys.executable,
            *("-m", "verl.trainer.main_ppo", "--config-path", str(RECIPE / "config"), "--config-name", "arithmetic"),
            *common(arithmetic_data),
            *(
                "trainer.n_gpus_per_node=1",
                "trainer.nnodes=2",
                "trainer.total_training_steps=2",
                "trainer.test_freq=-1",
                f"+ray_kwargs.ray_init.runtime_env.py_executable='{forked}'",
            ),
        ],
        environment,
        tmp_path,
    )
    assert status == 0, log[-6000:]
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert sorted(metrics) == [1, 2]
    for step in metrics.values():
        assert_searched(step)
        assert_rollout_and_actor_agree(step)
        assert step["actor/grad_norm"] > 0 and step["gpo/optimizer_steps"] == 2
    # A rank and a replica on each node with a device.
    for kind in ("WorkerDict", "vLLMHttpServer"):
        assert set(re.findall(rf"\({kind} pid=\d+, ip=(127\.0\.0\.\d)\)", log)) == {"127.0.0.2", "127.0.0.3"}


def refusal(log):
    lines = {line for line in log.splitlines() if "verl_gpo: " in line}  # Ray repeats a job's last lines
    assert len(lines) == 1 and "Traceback" not in log, log[-3000:]
    return lines.pop().partition("verl_gpo: ")[2]


def test_a_head_without_devices_is_configured_as_a_cluster(cluster, compose, run_overrides, monkeypatch):
    """And not as a CPU, though nothing on this host is an accelerator."""
    from verl.plugin.platform import get_platform, set_platform

    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    config = compose(*run_overrides, "trainer.n_gpus_per_node=1", "trainer.nnodes=2")
    before, platform = flattened(config), get_platform()
    monkeypatch.setattr(validate, "accelerator_present", lambda: False)
    try:
        decision = validate.prepare(config)
    finally:
        set_platform(platform)
    assert sorted((node["CPU"], node.get("GPU", 0)) for node in decision.nodes) == [(6, 1), (6, 1), (8, 0)]
    assert flattened(config) == before | {"trainer.device": "cuda", accelerators.PASSED_ON: "nvidia"}


def test_without_the_token_the_cluster_does_not_answer_and_is_told_so(cluster, monkeypatch):
    joined = Joined("RAY_ADDRESS", cluster.address)
    monkeypatch.delenv("RAY_AUTH_MODE")
    with pytest.raises(
        ConnectionError, match="a cluster whose nodes share a token answers with RAY_AUTH_MODE=token only"
    ):
        cluster_nodes(joined)
    # Ray itself looks for a token where it finds the cluster by its file.
    assert len(cluster_nodes(joined._replace(said_by="ray_current_cluster"))) == 3


def toy(data):
    """The math recipe on the arithmetic task; nodes are one more than there are, so that the cluster is asked."""
    lengths = ("data.max_prompt_length=128", "data.max_response_length=96", "recipe.response_tokens=60")
    return [
        *(f"data.{kind}_files={data}/{name}.parquet" for kind, name in (("train", "train"), ("val", "test"))),
        *(*lengths, f"reward.custom_reward_function.path={RECIPE}/reward.py", "trainer.nnodes=3"),
    ]


REFUSED = (
    "trainer.nnodes=3: must be at most 2 with trainer.n_gpus_per_node=1, which needs 1 GPU, 4 CPU on each node; "
    "the cluster of RAY_ADDRESS="
)


def test_a_submitted_job_asks_the_cluster_that_it_runs_on(cluster, arithmetic_data, tmp_path):
    environment = {
        **{name: value for name, value in cluster.environment.items() if name != "RAY_AUTH_MODE"},
        "RAY_DASHBOARD": f"http://{cluster.dashboard}",
        "NNODES": "2",
        "N_GPUS": "1",
        "VERL_PLATFORM": "cpu",
        "PYTHON": sys.executable,
        "MODEL": f"{arithmetic_data}/model",
        "OUT_DIR": str(tmp_path),
    }
    status, said = run(["bash", "recipes/math/submit.sh", *toy(arithmetic_data)], environment, REPOSITORY, 60)
    assert status == 0, said
    job = re.search(r"raysubmit_\w+", said).group()
    follow = ["ray", "job", "logs", "--follow", f"--address=http://{cluster.dashboard}", job]
    _, log = run(follow, cluster.environment, tmp_path, 120)
    assert refusal(log).startswith(REFUSED)


SRUN = """#!/usr/bin/env bash
tasks=1
while [[ ${1:-} == --* ]]; do
    if [[ $1 == --ntasks=* ]]; then tasks=${1#*=}; fi
    shift
done
for ((rank = 0; rank < tasks; rank++)); do SLURM_PROCID=$rank "$@" & done
trap 'kill $(jobs -p)' TERM
status=0
for task in $(jobs -p); do wait "$task" || status=$?; done
exit $status
"""


def test_the_slurm_script_starts_a_cluster_and_ends_it(arithmetic_data, tmp_path):
    """Slurm's commands are stand-ins that run on this machine; Ray, the launcher and the driver are the real ones."""
    stand_ins = {
        "srun": SRUN,
        "scontrol": "#!/bin/sh\nprintf 'node1\\nnode2\\n'\n",
        "hostname": "#!/bin/sh\necho 'fd00::1 127.0.0.1 '\n",
    }
    (tmp_path / "bin").mkdir()
    for name, text in stand_ins.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "activate").write_text(f"export PATH={tmp_path}/bin:{BIN}:$PATH\n")
    folder = tempfile.mkdtemp(prefix="ray_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))},
        "PATH": f"{tmp_path}/bin:{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(tmp_path),
        "RAY_TMPDIR": folder,
        "ENVIRONMENT": str(tmp_path / "activate"),
        "PORT": str(free_port()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
        "SLURM_CPUS_PER_TASK": "8",
        "VERL_PLATFORM": "cpu",
        "MODEL": f"{arithmetic_data}/model",
        "OUT_DIR": str(tmp_path / "out"),
    }

    def left():
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RAY_TMPDIR") == folder:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    try:
        status, log = run(["bash", "recipes/math/slurm.sh", *toy(arithmetic_data)], environment, REPOSITORY, 240)
        assert status == 1, log[-6000:]
        assert refusal(log).startswith(f"{REFUSED}127.0.0.1:{environment['PORT']} has ")
        deadline = time.monotonic() + 30
        while left() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert left() == [] and list((tmp_path / "out").glob("ray-token-*")) == []
    finally:
        for process in left():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
