#!/usr/bin/env bash
# One launcher for every model, data set, optimizer and backend of this folder; README.md has the table.
#
#   SETUP     a file of config/setup: model, data, sizes       qwen2_5_0_5b_gsm8k
#   METHOD    gpo, or a twin: random (reset anywhere), plain   gpo
#   ALGO      a file of config/algo: grpo, ppo, dapo, ...      grpo
#   BACKEND   rollout engine: vllm, sglang                     vllm
#   ENGINE    training engine: fsdp, megatron                  fsdp
#   PRESET    paper, fast, lean                                the setup's
#   MATCH     what a twin spends the tokens of GPO's search on: rollouts (n), prompts, or nothing (none)   n
#   MEASURED  metrics.jsonl of a GPO run: match the tokens that it spent, and not those that are expected
#   MODEL, DATA_DIR, OUT_DIR, N_GPUS, NNODES, PYTHON           replace the setup's own
#   DRY_RUN=1 prints the plan and starts nothing
#
# Called again after an interruption, a run goes on from its last checkpoint, and so does its metrics.jsonl.
# Further arguments are verl's, e.g.   bash recipes/math/run.sh algorithm.gpo.n_mc=8
set -euo pipefail

DRY_RUN=${DRY_RUN:-0}
RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/shell.sh
source "$RECIPE_DIR/../shell.sh"
SETUP=${SETUP:-qwen2_5_0_5b_gsm8k}
METHOD=${METHOD:-gpo}
ALGO=${ALGO:-grpo}
BACKEND=${BACKEND:-vllm}
ENGINE=${ENGINE:-fsdp}
PRESET=${PRESET:-}
MATCH=${MATCH:-n}
MEASURED=${MEASURED:-}
MODEL=${MODEL:-}
DATA_DIR=${DATA_DIR:-$HOME/data}
OUT_DIR=${OUT_DIR:-$PWD/outputs/math/$SETUP/$ALGO-$METHOD}
N_GPUS=${N_GPUS:-}
NNODES=${NNODES:-1}
PYTHON=${PYTHON:-python}

mapfile -t setups < <(names setup)
mapfile -t algos < <(names algo)
one_of SETUP "$SETUP" "${setups[@]}"
one_of ALGO "$ALGO" "${algos[@]}"
one_of METHOD "$METHOD" gpo random plain
one_of BACKEND "$BACKEND" vllm sglang
one_of ENGINE "$ENGINE" fsdp megatron
one_of MATCH "$MATCH" n prompts none
if [[ -n $N_GPUS ]]; then count N_GPUS "$N_GPUS"; fi
count NNODES "$NNODES"
program PYTHON "$PYTHON"

CONFIG=(--config-path "$RECIPE_DIR/config" --config-name math)

COMMON=(
    setup="$SETUP"
    algo="$ALGO"
    training="$ENGINE"
    recipe.data_dir="$(quoted "$DATA_DIR")"
    actor_rollout_ref.rollout.name="$BACKEND"
    trainer.nnodes="$NNODES"
    trainer.experiment_name="${SETUP}_${ALGO}_$METHOD"
    trainer.default_local_dir="$(quoted "$OUT_DIR/checkpoints")"
)
if [[ $ENGINE == megatron ]]; then COMMON+=(model_engine=megatron); fi
if [[ -n $PRESET ]]; then COMMON+=(algorithm.gpo.preset="$PRESET"); fi
if [[ -n $MODEL ]]; then COMMON+=(actor_rollout_ref.model.path="$(quoted "$MODEL")"); fi
if [[ -n $N_GPUS ]]; then COMMON+=(trainer.n_gpus_per_node="$N_GPUS"); fi

method_arguments
twin_arguments "$@"
if [[ $DRY_RUN != 0 ]]; then dry_run "$@"; fi

mkdir -p "$OUT_DIR"
# The file of verl's file logger, which verl_gpo.report reads.
export VERL_FILE_LOGGER_PATH=${VERL_FILE_LOGGER_PATH:-$OUT_DIR/metrics.jsonl}

# The numbers of a twin come after the arguments, since they were computed from them.
set -x
exec "$PYTHON" -m verl.trainer.main_ppo "${CONFIG[@]}" "${COMMON[@]}" "${METHOD_ARGS[@]}" "$@" "${EQUAL[@]}"
