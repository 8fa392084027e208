#!/usr/bin/env bash
# The first hour on a GPU, in ten minutes at most: the doctor with its two training steps, then the smallest recipe with
# GPO and its plain twin at equal tokens. What came of it is in one file, figures.json. It needs no network.
#
#   bash scripts/first_gpu_run.sh fetch FOLDER                     where there is a network: wheels, model and data
#   FOLDER=/there bash scripts/first_gpu_run.sh [options]          on the machine with the GPU
#   bash scripts/first_gpu_run.sh --dry-run                        what it would do: it needs no FOLDER and no GPU
#
#   FOLDER   has Qwen2.5-0.5B-Instruct/, gsm8k/, and wheels/, from which the environment is installed if it is not there
#
# Options (scripts/first_gpu_run.py): --toy, the arithmetic task on any machine, without FOLDER; --steps; --limit; --out.
# fetch has to run with the Python version and on the kind of machine (x86-64 or ARM) that the GPU's machine has.
set -Eeuo pipefail
# shellcheck source=scripts/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
cd "$ROOT"

MODEL=Qwen2.5-0.5B-Instruct
FOLDER=${FOLDER:-}

if [ "${1:-}" = fetch ]; then
    FOLDER=${2:?fetch: name the folder that it goes to}
    KIND=gpu ensure_environment
    step "wheels: $FOLDER/wheels (log: outputs/fetch.log)"
    quietly outputs/fetch.log "$PYTHON" -m pip wheel --disable-pip-version-check --no-deps --wheel-dir "$FOLDER/wheels" \
        -r scripts/lock-gpu.txt "uv==$UV_VERSION"
    step "model: $FOLDER/$MODEL"
    "$VENV/bin/hf" download "Qwen/$MODEL" --local-dir "$FOLDER/$MODEL"
    step "data: $FOLDER/gsm8k"
    "$PYTHON" -m verl_gpo.data.prepare --dataset gsm8k --out "$FOLDER/gsm8k"
    exit
fi

SECONDS=0
for argument in "$@"; do
    if [ "$argument" = --dry-run ]; then
        # A plan needs no GPU, so that any environment with verl_gpo will do.
        if [ ! -x "$PYTHON" ]; then PYTHON=python; fi
        exec "$PYTHON" -m scripts.first_gpu_run --folder "$FOLDER" "$@"
    fi
done
if [ -n "$FOLDER" ] && [ -d "$FOLDER/wheels" ]; then WHEELS=$FOLDER/wheels; fi
ensure_environment
exec "$PYTHON" -m scripts.first_gpu_run --folder "$FOLDER" --spent "$SECONDS" "$@"
