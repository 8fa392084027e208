"""Several nodes: what the Slurm and the job scripts start, with stand-ins for Slurm's and Ray's commands."""

import os
import subprocess

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "recipes" / "math"

# srun runs its command here: once for each task, as Slurm would on each node; --nodelist is one node.
SRUN = """#!/usr/bin/env bash
tasks=1
while [[ ${1:-} == --* ]]; do
    case $1 in --ntasks=*) tasks=${1#*=} ;; esac
    shift
done
for ((rank = 0; rank < tasks; rank++)); do SLURM_PROCID=$rank "$@" & done
wait
"""
STAND_INS = {
    "srun": SRUN,
    "scontrol": "#!/bin/sh\nprintf 'node1\\nnode2\\n'\n",
    "hostname": "#!/bin/sh\necho '10.0.0.1 fd00::1 '\n",
    "sleep": "#!/bin/sh\n",
    "ray": '#!/bin/sh\necho "ray $*" >>"$LOG"\n',
    # The wait for the nodes reads its program from standard input; the launcher is asked what it would run.
    "python": '#!/bin/sh\n[ "$1" = - ] && { cat >/dev/null; echo "wait for $2" >>"$LOG"; exit; }\n'
    'echo "at $RAY_ADDRESS: python $*" >>"$LOG"\n',
}


@pytest.fixture
def cluster(tmp_path):
    """Environment with the stand-ins first on the PATH, and the file that they write to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in STAND_INS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / "activate").write_text(f"export PATH={folder}:$PATH\n")
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LOG": str(tmp_path / "log"),
        "OUT_DIR": str(tmp_path / "out"),
        "ENVIRONMENT": str(tmp_path / "activate"),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_CPUS_PER_TASK": "64",
    }
    return environment, tmp_path / "log"


def run(script, *arguments, environment):
    command = ["bash", str(FOLDER / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=60)


def test_slurm_starts_ray_on_each_node_and_the_launcher_on_the_first(cluster):
    environment, log = cluster
    result = run("slurm.sh", "data.seed=1", environment={**environment, "SETUP": "qwen3_4b_dapo"})
    assert result.returncode == 0, result.stderr
    lines = log.read_text().splitlines()
    has = "--num-cpus 64 --num-gpus 8 --disable-usage-stats --block"
    assert sorted(line for line in lines if line.startswith("ray")) == [
        f"ray start --address=10.0.0.1:6379 {has}",
        f"ray start --head --node-ip-address=10.0.0.1 --port=6379 {has}",
    ]
    assert "wait for 2" in lines
    training = lines[-1]
    assert training.startswith("at 10.0.0.1:6379: python -m verl.trainer.main_ppo")
    for part in ("setup=qwen3_4b_dapo", "trainer.nnodes=2", "trainer.n_gpus_per_node=8", "data.seed=1"):
        assert part in training
    # The metrics are written on whichever node the trainer runs.
    assert f"env_vars.VERL_FILE_LOGGER_PATH='{environment['OUT_DIR']}/metrics.jsonl'" in training


def test_slurm_says_what_environment_is_missing(cluster):
    environment, log = cluster
    result = run("slurm.sh", environment={**environment, "ENVIRONMENT": "/nowhere/activate"})
    assert result.returncode == 2 and "ENVIRONMENT=/nowhere/activate: no such file" in result.stderr
    assert not log.exists()


@pytest.mark.parametrize("script", ["slurm.sh", "submit.sh"])
def test_a_number_of_nodes_that_is_none_is_refused(cluster, script):
    environment, log = cluster
    result = run(script, environment={**environment, "NNODES": "two", "SLURM_JOB_NUM_NODES": "two"})
    assert result.returncode == 2 and result.stderr == "NNODES=two: must be an integer of at least 1\n"
    assert not log.exists()


@pytest.mark.parametrize("script", ["slurm.sh", "submit.sh"])
def test_a_dry_run_starts_nothing(cluster, script):
    environment, log = cluster
    result = run(script, environment={**environment, "DRY_RUN": "1", "NNODES": "2"})
    assert result.returncode == 0, result.stderr
    lines = log.read_text().splitlines()
    assert len(lines) == 1 and "python -m verl_gpo.plan" in lines[0] and "trainer.nnodes=2" in lines[0]


def test_a_job_takes_its_settings_along(cluster):
    environment, log = cluster
    settings = {"RAY_DASHBOARD": "http://head:8265", "NNODES": "4", "METHOD": "plain", "SETUP": "qwen3_4b_dapo"}
    result = run("submit.sh", "data.seed=1", environment={**environment, **settings})
    assert result.returncode == 0, result.stderr
    submitted = log.read_text()
    assert submitted.startswith(
        "ray job submit --address=http://head:8265 --no-wait -- env NNODES=4 SETUP=qwen3_4b_dapo"
    )
    assert "METHOD=plain" in submitted and submitted.rstrip().endswith(f"launch {REPOSITORY} data.seed=1")
