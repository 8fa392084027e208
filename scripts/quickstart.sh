#!/usr/bin/env bash
# From an empty machine to a comparison: installs everything, makes a task and a small model, trains it with GPO and then
# with stock GRPO (verl, vLLM, Ray and FSDP), and shows both runs side by side. Without a GPU it runs on the CPU. No
# arguments are needed.
#
#   bash scripts/quickstart.sh --no-twin                     # GPO only
#   bash scripts/quickstart.sh algorithm.gpo.preset=fast     # further arguments are verl's; both runs get them
set -Eeuo pipefail
# shellcheck source=scripts/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
cd "$ROOT"

STEPS=${STEPS:-16}
OUT_DIR=${OUT_DIR:-$ROOT/outputs/quickstart}
export PYTHON DATA_DIR=${DATA_DIR:-$ROOT/outputs/arithmetic/data}
twin=1
arguments=()
for argument in "$@"; do
    if [ "$argument" = --no-twin ]; then twin=; else arguments+=("$argument"); fi
done

ensure_environment

step "task and model: $DATA_DIR"
OMP_NUM_THREADS=1 "$PYTHON" -m recipes.arithmetic.prepare --out "$DATA_DIR"

# Train by the recipe's script: METHOD, and the folder for what the run writes.
train() {
    OUT_DIR=$2 METHOD=$1 "$PYTHON" -m verl_gpo.report.live --log "$2/train.log" --metrics "$2/metrics.jsonl" \
        --steps "$STEPS" -- bash recipes/arithmetic/run.sh trainer.total_training_steps="$STEPS" \
        trainer.resume_mode=disable "${@:3}"
}

rm -rf "$OUT_DIR/gpo/traces" # of an earlier run
step "GPO: $STEPS training steps (log: $OUT_DIR/gpo/train.log)"
train gpo "$OUT_DIR/gpo" algorithm.gpo.trace_dir="$OUT_DIR/gpo/traces" "${arguments[@]}"
runs=("GPO=$OUT_DIR/gpo")
if [ -n "$twin" ]; then
    step "its twin, stock GRPO: $STEPS training steps on the same prompts (log: $OUT_DIR/grpo/train.log)"
    train plain "$OUT_DIR/grpo" "${arguments[@]}"
    runs+=("GRPO=$OUT_DIR/grpo")
fi

step "result"
"$PYTHON" -m verl_gpo.report.summary "${runs[@]}" --plot "$OUT_DIR/curve.png"
"$PYTHON" -m verl_gpo.report --traces "$OUT_DIR/gpo/traces" --runs "${runs[@]}" --out "$OUT_DIR/report.html"
