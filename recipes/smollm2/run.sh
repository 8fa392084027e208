#!/usr/bin/env bash
# A pretrained language model with GPO or a twin, on the CPU or a GPU; README.md says more.
#
#   SETUP     a file of config/setup: model, data, sizes             leg_counting
#   METHOD    gpo, or a twin: random (reset anywhere), plain         gpo
#   ALGO      a file of config/algo: grpo, ppo, dapo, ...            grpo
#   PRESET    paper, fast, lean, ...                                 fast
#   MATCH     what a twin spends the tokens of GPO's search on: rollouts (n), prompts, or nothing (none)   n
#   MEASURED  metrics.jsonl of a GPO run: match the tokens that it spent, and not those that are expected
#   MODEL     another model: a checkpoint's folder or a name on the hub
#   PREPARE_ARGS  further arguments of prepare.py, e.g. "--max-animals 8"; give another DATA_DIR with them
#   DATA_DIR, OUT_DIR, N_GPUS, PYTHON                                replace the setup's own
#   DRY_RUN=1 prints the plan and starts nothing
#
# Further arguments are verl's, e.g.   bash recipes/smollm2/run.sh trainer.total_training_steps=4
set -Eeuo pipefail

DRY_RUN=${DRY_RUN:-0}
RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$RECIPE_DIR/../.." && pwd)
# shellcheck source=recipes/shell.sh
source "$RECIPE_DIR/../shell.sh"
SETUP=${SETUP:-leg_counting}
METHOD=${METHOD:-gpo}
ALGO=${ALGO:-grpo}
PRESET=${PRESET:-}
MATCH=${MATCH:-n}
MEASURED=${MEASURED:-}
MODEL=${MODEL:-}
N_GPUS=${N_GPUS:-}
OUT_DIR=${OUT_DIR:-$PWD/outputs/smollm2/$SETUP/$ALGO-$METHOD}
PYTHON=${PYTHON:-python}
prepare_args=() main=()
words prepare_args PREPARE_ARGS "${PREPARE_ARGS:-}"

mapfile -t setups < <(names setup)
mapfile -t algos < <(names algo)
one_of SETUP "$SETUP" "${setups[@]}"
one_of ALGO "$ALGO" "${algos[@]}"
one_of METHOD "$METHOD" gpo random plain
one_of MATCH "$MATCH" n prompts none
if [[ -n $N_GPUS ]]; then count N_GPUS "$N_GPUS"; fi
program PYTHON "$PYTHON"

CONFIG=(--config-path "$RECIPE_DIR/config" --config-name smollm2)
OWN_ARGS=()
case $SETUP in
leg_counting | gsm_symbolic) # made here: the model is supervised on the task first
    DATA_DIR=${DATA_DIR:-$PWD/outputs/smollm2/$SETUP/data}
    prepare=(-m recipes.smollm2.prepare --task "$SETUP" --out "$DATA_DIR" "${prepare_args[@]}")
    if [[ -n $MODEL ]]; then prepare+=(--model "$MODEL"); fi
    OWN_ARGS+=(reward.custom_reward_function.path="$(quoted "$RECIPE_DIR/reward.py")")
    ;;
*) # data of the hub's, and the model as it is
    DATA_DIR=${DATA_DIR:-$HOME/data}
    prepare=()
    if [[ -n $MODEL ]]; then OWN_ARGS+=(actor_rollout_ref.model.path="$(quoted "$MODEL")"); fi
    ;;
esac

COMMON=(
    setup="$SETUP"
    algo="$ALGO"
    recipe.data_dir="$(quoted "$DATA_DIR")"
    trainer.experiment_name="${SETUP}_${ALGO}_$METHOD"
    trainer.default_local_dir="$(quoted "$OUT_DIR/checkpoints")"
    "${OWN_ARGS[@]}"
)
if [[ -n $PRESET ]]; then COMMON+=(algorithm.gpo.preset="$PRESET"); fi
if [[ -n $N_GPUS ]]; then COMMON+=(trainer.n_gpus_per_node="$N_GPUS"); fi

method_arguments
twin_arguments "$@"
if [[ $DRY_RUN != 0 ]]; then dry_run "$@"; fi

if [[ ${#prepare[@]} != 0 ]]; then
    PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" "${prepare[@]}"
fi

mkdir -p "$OUT_DIR"
# The file of verl's file logger, which verl_gpo.report reads.
export VERL_FILE_LOGGER_PATH=${VERL_FILE_LOGGER_PATH:-$OUT_DIR/metrics.jsonl}
words main MAIN "${MAIN:--m verl.trainer.main_ppo}" # benchmarks train many in one process
set -x
# The numbers of a twin come after the arguments, since they were computed from them.
exec "$PYTHON" "${main[@]}" "${CONFIG[@]}" "${COMMON[@]}" "${METHOD_ARGS[@]}" "$@" "${EQUAL[@]}"
