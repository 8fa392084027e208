#!/usr/bin/env bash
# Several nodes, with a Ray cluster that is there: hand the launcher to it as a job.
#
#   RAY_DASHBOARD=http://HEAD:8265 NNODES=4 SETUP=qwen3_4b_dapo bash recipes/math/submit.sh [verl's arguments]
#
# On every node: this repository at the same path, the environment of $PYTHON, model and data (or a shared file system).
#   here:    ray get-auth-token --generate     and copy ~/.ray/auth_token to the same place on every node
#   head:    export RAY_AUTH_MODE=token; ray start --head --dashboard-host=0.0.0.0
#   others:  export RAY_AUTH_MODE=token; ray start --address=HEAD:6379
# The token is what Ray recommends: without it anyone who reaches a port may run code there. Who submits needs it, too;
# RAY_AUTH_MODE=token is set here where there is one. A cluster without token: RAY_AUTH_MODE=disabled, there and here; a
# mixture is refused with InvalidAuthToken.
# Keys of trackers (WANDB_API_KEY) have to be in the environment that Ray was started in.
# DRY_RUN=1 prints the plan and the command, and submits nothing.
set -euo pipefail

RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$RECIPE_DIR/../.." && pwd)
RAY_DASHBOARD=${RAY_DASHBOARD:-http://127.0.0.1:8265}
NNODES=${NNODES:-2}
DRY_RUN=${DRY_RUN:-0}
# shellcheck source=recipes/shell.sh
source "$RECIPE_DIR/../shell.sh"
count NNODES "$NNODES"
export NNODES

# What the launcher reads, as far as it is set here: a job does not inherit the environment of the submitting shell.
JOB_ENV=()
for name in NNODES SETUP METHOD ALGO BACKEND ENGINE PRESET MATCH MEASURED MODEL DATA_DIR OUT_DIR N_GPUS PYTHON \
    VERL_FILE_LOGGER_PATH VERL_PLATFORM HF_HOME HF_HUB_OFFLINE; do
    if [[ -n ${!name:-} ]]; then JOB_ENV+=("$name=${!name}"); fi
done

# Ray's own commands take a token only if they are told to.
if [[ -n ${RAY_AUTH_TOKEN:-}${RAY_AUTH_TOKEN_PATH:-} || -s ${HOME:-}/.ray/auth_token ]]; then
    RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
fi

# shellcheck disable=SC2016  # expanded by the job's shell
COMMAND=(env ${RAY_AUTH_MODE:+RAY_AUTH_MODE="$RAY_AUTH_MODE"} ray job submit --address="$RAY_DASHBOARD" --no-wait --
    env "${JOB_ENV[@]}" bash -c 'cd "$1" && shift && exec bash recipes/math/run.sh "$@"' launch "$ROOT" "$@")

if [[ $DRY_RUN != 0 ]]; then
    bash "$RECIPE_DIR/run.sh" "$@"
    echo "would run:"
    printf '%q ' "${COMMAND[@]}" # as it can be pasted
    echo
    exit
fi
set -x
exec "${COMMAND[@]}"
