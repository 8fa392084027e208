#!/usr/bin/env bash
# Arithmetic: GPO, and its twins from the same script.
#
#   METHOD=gpo      the critical step (default)
#   METHOD=random   reset to a random step: the paper's ablation
#   METHOD=grpo     stock GRPO; the rollout worker only counts
#
# Further arguments are verl's, e.g.   bash recipes/arithmetic/run.sh algorithm.gpo.n_mc=8
set -Eeuo pipefail

RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON=${PYTHON:-python}
METHOD=${METHOD:-gpo}
PRESET=${PRESET:-paper}
DATA_DIR=${DATA_DIR:-$PWD/outputs/arithmetic/data}
OUT_DIR=${OUT_DIR:-$PWD/outputs/arithmetic/$METHOD}
N_GPUS=${N_GPUS:-1}

case $METHOD in
gpo) method=(algorithm.gpo.preset="$PRESET") ;;
random) method=(algorithm.gpo.preset="$PRESET" algorithm.gpo.search=random) ;;
grpo) method=(algorithm.adv_estimator=grpo algorithm.gpo.enable=false) ;;
*)
    echo "METHOD=$METHOD: must be one of gpo, random, grpo" >&2
    exit 2
    ;;
esac

OMP_NUM_THREADS=1 "$PYTHON" "$RECIPE_DIR/prepare.py" --out "$DATA_DIR"

mkdir -p "$OUT_DIR"
# Where verl's file logger writes: what verl_gpo.report reads.
export VERL_FILE_LOGGER_PATH=${VERL_FILE_LOGGER_PATH:-$OUT_DIR/metrics.jsonl}

set -x
exec "$PYTHON" -m verl.trainer.main_ppo \
    --config-path "$RECIPE_DIR/config" --config-name arithmetic \
    data.train_files="$DATA_DIR/train.parquet" \
    data.val_files="$DATA_DIR/test.parquet" \
    actor_rollout_ref.model.path="$DATA_DIR/model" \
    reward.custom_reward_function.path="$RECIPE_DIR/reward.py" \
    trainer.experiment_name="arithmetic_$METHOD" \
    trainer.default_local_dir="$OUT_DIR/checkpoints" \
    trainer.n_gpus_per_node="$N_GPUS" \
    "${method[@]}" "$@"
