"""Several nodes: what the Slurm and the job scripts start, with stand-ins for Slurm's and Ray's commands."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "recipes" / "math"

# srun runs its command here: once for each task, as Slurm would on each node; --nodelist is one node. As since Slurm
# 22.05, a task has one CPU unless srun itself is told otherwise.
SRUN = """#!/usr/bin/env bash
tasks=1 cpus=1
while [[ ${1:-} == --* ]]; do
    case $1 in
    --ntasks=*) tasks=${1#*=} ;;
    --cpus-per-task=*) cpus=${1#*=} ;;
    esac
    shift
done
export SLURM_CPUS_PER_TASK=$cpus
echo "srun $cpus CPUs: $1" >>"$LOG"
for ((rank = 0; rank < tasks; rank++)); do SLURM_PROCID=$rank "$@" & done
wait
"""
STAND_INS = {
    "srun": SRUN,
    "scontrol": "#!/bin/sh\nprintf 'node1\\nnode2\\n'\n",
    "hostname": '#!/bin/sh\necho "${ADDRESSES-10.0.0.1 fd00::1 }"\n',
    "sleep": "#!/bin/sh\n",
    # Each of Ray's nodes writes down by what token it would be known, and who may read it.
    "ray": '#!/bin/sh\necho "ray $*" >>"$LOG"\n[ "$1" = start ] || exit 0\n'
    "f=${RAY_AUTH_TOKEN_PATH:-/dev/null}\n"
    'echo "auth $RAY_AUTH_MODE $(stat -c %a "$f") $(cat "$f") $f" >>"$LOG"\n',
    # The wait for the nodes reads its program from standard input, and waits until each has written down its token; the
    # launcher is asked what it would run.
    "python": """#!/bin/sh
if [ "$1" = - ]; then
    cat >/dev/null
    for _ in $(seq 400); do
        [ "$(grep -c ^auth "$LOG")" -ge "$2" ] && break
        command -p sleep 0.05
    done
    echo "wait for $2" >>"$LOG"
    exit
fi
echo "at $RAY_ADDRESS: python $*, metrics to $VERL_FILE_LOGGER_PATH" >>"$LOG"
""",
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
    # The steps that hold Ray and the launcher have the job's CPUs; to ask for an address takes one.
    steps = sorted(line for line in lines if line.startswith("srun"))
    assert steps == ["srun 1 CPUs: hostname", "srun 64 CPUs: bash", "srun 64 CPUs: bash"]
    assert "wait for 2" in lines
    training = lines[-1]
    assert training.startswith("at 10.0.0.1:6379: python -m verl.trainer.main_ppo")
    for part in ("setup=qwen3_4b_dapo", "trainer.nnodes=2", "trainer.n_gpus_per_node=8", "data.seed=1"):
        assert part in training
    # The metrics' file is the launcher's; the plugin tells it to the node that the trainer runs on.
    assert f"metrics to {environment['OUT_DIR']}/metrics.jsonl" in training


def tokens(log):
    """``(mode, permissions of the file, token, file)`` of each of Ray's nodes."""
    return [line.split(" ")[1:] for line in log.read_text().splitlines() if line.startswith("auth")]


def test_the_nodes_of_a_job_share_a_token_that_only_its_owner_reads(cluster):
    environment, log = cluster
    seen = set()
    for _ in range(2):
        log.unlink(missing_ok=True)
        result = run("slurm.sh", environment=environment)
        assert result.returncode == 0, result.stderr
        first, second = tokens(log)
        assert first == second and first[:2] == ["token", "600"]
        assert first[3].startswith(f"{environment['OUT_DIR']}/ray-token-")
        assert len(first[2]) == 64 and set(first[2]) <= set("0123456789abcdef")
        assert first[2] not in result.stdout + result.stderr
        seen.add(first[2])
    assert len(seen) == 2  # another job, another token
    assert list(Path(environment["OUT_DIR"]).glob("ray-token-*")) == []


def test_a_token_of_the_users_is_taken_and_kept(cluster, tmp_path):
    environment, log = cluster
    mine = tmp_path / "mine"
    mine.write_text("0123")
    result = run("slurm.sh", environment={**environment, "RAY_AUTH_TOKEN_PATH": str(mine)})
    assert result.returncode == 0, result.stderr
    assert [node[::2] for node in tokens(log)] == [["token", "0123"]] * 2 and mine.exists()


def test_ray_can_do_without_a_token(cluster):
    environment, log = cluster
    result = run("slurm.sh", environment={**environment, "RAY_AUTH_MODE": "disabled"})
    assert result.returncode == 0, result.stderr
    assert [node[::2] for node in tokens(log)] == [["disabled", ""]] * 2


def test_the_head_is_found_behind_ipv6_addresses(cluster):
    environment, log = cluster
    result = run("slurm.sh", environment={**environment, "ADDRESSES": "fd00::1 2001:db8::7 10.0.0.9 172.17.0.1 "})
    assert result.returncode == 0, result.stderr
    assert "ray start --head --node-ip-address=10.0.0.9 --port=6379" in log.read_text()


def test_a_head_without_ipv4_is_told(cluster):
    environment, log = cluster
    result = run("slurm.sh", environment={**environment, "ADDRESSES": "fd00::1 "})
    assert result.returncode == 2
    assert "HEAD_IP: node1 has no IPv4 address among 'fd00::1 '" in result.stderr
    assert "ray" not in log.read_text()
    result = run("slurm.sh", environment={**environment, "ADDRESSES": "fd00::1 ", "HEAD_IP": "10.1.1.1"})
    assert result.returncode == 0 and "--node-ip-address=10.1.1.1" in log.read_text()


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


def test_the_command_that_a_dry_run_prints_can_be_pasted(cluster):
    environment, log = cluster
    given = {**environment, "NNODES": "2", "MODEL": "/models/with space"}
    result = run("submit.sh", "trainer.logger=[console, file]", environment={**given, "DRY_RUN": "1"})
    assert result.returncode == 0, result.stderr
    printed = result.stdout.partition("would run:\n")[2].strip()
    assert printed
    log.unlink()
    pasted = subprocess.run(["bash", "-c", printed], env=environment, capture_output=True, text=True, timeout=60)
    assert pasted.returncode == 0, pasted.stderr
    from_paste = log.read_text()
    log.unlink()
    assert run("submit.sh", "trainer.logger=[console, file]", environment=given).returncode == 0
    assert log.read_text() == from_paste
    assert shlex.split(printed)[-1] == "trainer.logger=[console, file]" and "MODEL=/models/with space" in from_paste


@pytest.mark.parametrize(
    ("given", "file", "expected"),
    [
        ({}, False, "unset"),
        ({}, True, "token"),
        ({"RAY_AUTH_TOKEN": "0123"}, False, "token"),
        ({"RAY_AUTH_TOKEN_PATH": "/there"}, False, "token"),
        ({"RAY_AUTH_MODE": "disabled"}, True, "disabled"),
    ],
)
def test_who_submits_shows_the_token_that_is_there(cluster, tmp_path, given, file, expected):
    environment, log = cluster
    (tmp_path / "bin" / "ray").write_text('#!/bin/sh\necho "${RAY_AUTH_MODE-unset}" >>"$LOG"\n')
    if file:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("0123")
    result = run("submit.sh", environment={**environment, **given})
    assert result.returncode == 0, result.stderr
    # So does who pastes the command that a dry run prints.
    dry = run("submit.sh", environment={**environment, **given, "DRY_RUN": "1", "NNODES": "2"})
    printed = dry.stdout.partition("would run:\n")[2]
    assert subprocess.run(["bash", "-c", printed], env={**environment, **given}, timeout=60).returncode == 0
    assert [line for line in log.read_text().splitlines() if "python" not in line] == [expected] * 2
