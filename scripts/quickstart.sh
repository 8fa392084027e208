#!/usr/bin/env bash
# GPO from nothing: install, build a small model and its task, train it with verl, vLLM, Ray and FSDP, show what came out.
# Runs on the CPU where there is no GPU. No arguments are needed; any are passed to verl.
set -Eeuo pipefail
# shellcheck source=scripts/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
cd "$ROOT"

STEPS=${STEPS:-16}
OUT_DIR=${OUT_DIR:-$ROOT/outputs/quickstart}
export PYTHON DATA_DIR=${DATA_DIR:-$ROOT/outputs/arithmetic/data} OUT_DIR

ensure_environment

step "task and model: $DATA_DIR"
OMP_NUM_THREADS=1 "$PYTHON" -m recipes.arithmetic.prepare --out "$DATA_DIR"

rm -rf "$OUT_DIR/traces" # of a run before
step "training: $STEPS steps of GPO (log: $OUT_DIR/train.log)"
"$PYTHON" -m verl_gpo.report.live --log "$OUT_DIR/train.log" --metrics "$OUT_DIR/metrics.jsonl" --steps "$STEPS" -- \
    bash recipes/arithmetic/run.sh trainer.total_training_steps="$STEPS" trainer.resume_mode=disable \
    algorithm.gpo.trace_dir="$OUT_DIR/traces" "$@"

step "result"
"$PYTHON" -m verl_gpo.report.summary "$OUT_DIR/metrics.jsonl" --plot "$OUT_DIR/curve.png"
"$PYTHON" -m verl_gpo.report --traces "$OUT_DIR/traces" --runs GPO="$OUT_DIR" --out "$OUT_DIR/report.html"
