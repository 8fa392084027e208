#!/usr/bin/env bash
# The first run on a GPU, in at most ten minutes: the doctor with its two training steps, then the smallest recipe with
# GPO and its plain twin at equal tokens. All results are written to one file, figures.json. It needs no network.
#
#   bash scripts/first_gpu_run.sh fetch FOLDER              on a machine with a network: fetches wheels, model and data
#   FOLDER=/there bash scripts/first_gpu_run.sh [options]   on the machine with the GPU
#   bash scripts/first_gpu_run.sh --dry-run                 prints what it would do; needs no FOLDER and no GPU
#
#   FOLDER   has Qwen2.5-0.5B-Instruct/, gsm8k/ and wheels/; the environment is installed from the wheels if it is missing
#
# Options: --toy trains the arithmetic task on any machine, without FOLDER; --steps, --limit, --out (--help explains them).
# fetch needs the same version of Python and the same kind of machine (x86-64 or ARM) as the machine with the GPU.
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
        # A plan needs no GPU, so any environment with verl_gpo is good enough.
        if [ ! -x "$PYTHON" ]; then PYTHON=python; fi
        exec "$PYTHON" -m scripts.first_gpu_run --folder "$FOLDER" "$@"
    fi
done
if [ -n "$FOLDER" ] && [ -d "$FOLDER/wheels" ]; then WHEELS=$FOLDER/wheels; fi
ensure_environment
exec "$PYTHON" -m scripts.first_gpu_run --folder "$FOLDER" --spent "$SECONDS" "$@"
