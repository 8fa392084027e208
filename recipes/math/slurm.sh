#!/usr/bin/env bash
# Several nodes under Slurm: starts Ray on all of them, then the launcher on the first.
#
#   SETUP=qwen3_4b_dapo sbatch --nodes=4 --partition=P --account=A recipes/math/slurm.sh [verl's arguments]
#
# from the root of this repository, which lies with environment, model and data on a file system that all nodes share.
# ENVIRONMENT is sourced on each node, e.g. a virtual environment's activate. DRY_RUN=1 prints the plan and starts nothing.
# HEAD_IP is the first node's address, where its first IPv4 address is in the wrong network.
#
# Ray's nodes know each other by a token, as Ray recommends: one is made for the job, unless RAY_AUTH_TOKEN or
# RAY_AUTH_TOKEN_PATH is set. RAY_AUTH_MODE=disabled does without: then anyone who reaches the port may run code.
#SBATCH --job-name=verl-gpo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.out
set -euo pipefail

ENVIRONMENT=${ENVIRONMENT:-$PWD/.venv/bin/activate}
PORT=${PORT:-6379}
export NNODES=${SLURM_JOB_NUM_NODES:-${NNODES:-2}}
export N_GPUS=${SLURM_GPUS_ON_NODE:-${N_GPUS:-8}}

if [[ ${DRY_RUN:-0} != 0 ]]; then exec bash recipes/math/run.sh "$@"; fi
# shellcheck source=recipes/shell.sh
source recipes/shell.sh # Slurm runs a copy of this script: its own folder says nothing
count NNODES "$NNODES"
count N_GPUS "$N_GPUS"
[[ -f $ENVIRONMENT ]] || refused "ENVIRONMENT=$ENVIRONMENT: no such file"
set -x

# Since Slurm 22.05 a step does not inherit the job's --cpus-per-task: without it each task would have one CPU.
cpus=${SLURM_CPUS_PER_TASK:-$(nproc)}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
if [[ -z ${HEAD_IP:-} ]]; then
    addresses=$(srun --nodes=1 --ntasks=1 --cpus-per-task=1 --nodelist="${nodes[0]}" hostname -I)
    HEAD_IP=$(tr -s ' ' '\n' <<<"$addresses" | grep -m 1 -xE '[0-9]+(\.[0-9]+){3}' || true)
    if [[ -z $HEAD_IP ]]; then
        echo "HEAD_IP: ${nodes[0]} has no IPv4 address among '$addresses'; set HEAD_IP to one that all nodes reach" >&2
        exit 2
    fi
fi
export RAY_ADDRESS=$HEAD_IP:$PORT

ray='' token=''
stop() {
    if [[ -n $ray ]]; then kill "$ray" 2>/dev/null || true; fi
    if [[ -n $token ]]; then rm -f "$token"; fi
}
trap stop EXIT
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
if [[ $RAY_AUTH_MODE == token && -z ${RAY_AUTH_TOKEN:-}${RAY_AUTH_TOKEN_PATH:-} ]]; then
    # In a file, since the environment of a process can be read by others; where the job writes, so all nodes see it.
    mkdir -p "${OUT_DIR:-outputs}"
    token=$(umask 077 && mktemp "$(realpath "${OUT_DIR:-outputs}")/ray-token-XXXXXXXX")
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$token"
    export RAY_AUTH_TOKEN_PATH=$token
fi

# One step holds Ray on every node; it ends with the job. The first node is the head.
on_each_node() {
    # In the place of this shell, so that to end it is to end the step.
    # shellcheck disable=SC2016  # expanded on the node
    exec srun --overlap --ntasks="$NNODES" --ntasks-per-node=1 --cpus-per-task="$cpus" bash -euo pipefail -c '
        source "$1"
        has=(--num-cpus "$4" --num-gpus "$3" --disable-usage-stats --block)
        if [[ $SLURM_PROCID == 0 ]]; then
            exec ray start --head --node-ip-address="${2%:*}" --port="${2##*:}" "${has[@]}"
        fi
        sleep 10 # the head first
        exec ray start --address="$2" "${has[@]}"
    ' ray "$ENVIRONMENT" "$RAY_ADDRESS" "$N_GPUS" "$cpus"
}
on_each_node &
ray=$!

# shellcheck disable=SC2016
srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --nodelist="${nodes[0]}" bash -euo pipefail -c '
    source "$1"
    python - "$NNODES" <<"PYTHON"
import sys, time
import ray

for _ in range(60):
    try:
        ray.init(address="auto", log_to_driver=False)
        alive = sum(node["Alive"] for node in ray.nodes())
        ray.shutdown()
        if alive >= int(sys.argv[1]):
            break
    except ConnectionError:
        pass
    time.sleep(5)
else:
    sys.exit(f"after 300 s Ray still has not {sys.argv[1]} nodes")
PYTHON
    shift
    exec bash recipes/math/run.sh "$@"
' launch "$ENVIRONMENT" "$@"
