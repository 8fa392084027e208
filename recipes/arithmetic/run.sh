#!/usr/bin/env bash
# Arithmetic: every optimizer with GPO, with a random reset, and plain, from one script.
#
#   METHOD=gpo      reset to the critical step (default)
#   METHOD=random   reset to a random step: the paper's ablation
#   METHOD=plain    the optimizer alone; the rollout worker only counts
#
#   ALGO=grpo (default), drgrpo, rloo, opo, reinforce_plus_plus, reinforce_plus_plus_baseline, ppo, dapo, gspo
#
# An optimizer's own settings are the same under all three methods. Further arguments are verl's, e.g.
#   ALGO=ppo bash recipes/arithmetic/run.sh algorithm.gpo.n_mc=8
# DRY_RUN=1 prints the plan and starts nothing. Called again after an interruption, a run goes on from its last checkpoint
# (trainer.save_freq), and so does its metrics.jsonl.
# Other problems are arguments of prepare.py's, with a folder of their own, e.g.
#   PREPARE_ARGS="--n-steps 12 --n-hard 1 --hard-place late" RESPONSE_LENGTH=96 DATA_DIR=outputs/arithmetic/late12
set -Eeuo pipefail

RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/shell.sh
source "$RECIPE_DIR/../shell.sh"
DRY_RUN=${DRY_RUN:-0}
PYTHON=${PYTHON:-python}
ALGO=${ALGO:-grpo}
METHOD=${METHOD:-gpo}
PRESET=${PRESET:-paper}
DATA_DIR=${DATA_DIR:-$PWD/outputs/arithmetic/data}
OUT_DIR=${OUT_DIR:-$PWD/outputs/arithmetic/$ALGO-$METHOD}
N_GPUS=${N_GPUS:-1}
RESPONSE_LENGTH=${RESPONSE_LENGTH:-96}
# Another task's script sets the module that prepares it and its arguments, an array.
declare -p PREPARE >/dev/null 2>&1 || PREPARE=(recipes.arithmetic.prepare)
prepare_args=() main=()
words prepare_args PREPARE_ARGS "${PREPARE_ARGS:-}"
program PYTHON "$PYTHON"
count N_GPUS "$N_GPUS"
count RESPONSE_LENGTH "$RESPONSE_LENGTH"

# verl's estimator, and what else the optimizer asks for.
estimator=$ALGO
algo=()
case $ALGO in
grpo | rloo | opo | reinforce_plus_plus | reinforce_plus_plus_baseline) ;;
drgrpo) # no division by the group's deviation, nor by a response's length
    estimator=grpo
    algo=(algorithm.norm_adv_by_std_in_grpo=false
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm
        actor_rollout_ref.actor.loss_scale_factor="$RESPONSE_LENGTH")
    ;;
dapo) # clip higher, token mean, groups with one outcome filtered, long responses punished
    estimator=grpo
    algo=(actor_rollout_ref.actor.clip_ratio_high=0.28
        actor_rollout_ref.actor.loss_agg_mode=token-mean
        algorithm.filter_groups.enable=true
        algorithm.filter_groups.metric=acc
        reward.reward_manager.name=dapo
        +reward.reward_kwargs.max_resp_len="$RESPONSE_LENGTH"
        +reward.reward_kwargs.overlong_buffer_cfg.enable=true
        +reward.reward_kwargs.overlong_buffer_cfg.len=16
        +reward.reward_kwargs.overlong_buffer_cfg.penalty_factor=1.0
        +reward.reward_kwargs.overlong_buffer_cfg.log=false)
    ;;
gspo) # one importance ratio a sequence, and the clip range that goes with it
    estimator=grpo
    algo=(actor_rollout_ref.actor.policy_loss.loss_mode=gspo
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean
        actor_rollout_ref.actor.clip_ratio_low=3e-4
        actor_rollout_ref.actor.clip_ratio_high=4e-4)
    ;;
ppo) # GAE with a critic
    estimator=gae
    algo=(critic.model.path="$(quoted "$DATA_DIR/model")"
        critic.optim.lr=1e-3
        critic.use_dynamic_bsz=true
        critic.ppo_max_token_len_per_gpu=16384
        critic.model.enable_gradient_checkpointing=false)
    ;;
*) one_of ALGO "$ALGO" grpo drgrpo rloo opo reinforce_plus_plus reinforce_plus_plus_baseline ppo dapo gspo ;;
esac

case $METHOD in
gpo) method=(algorithm.gpo.preset="$PRESET") ;;
random) method=(algorithm.gpo.preset="$PRESET" algorithm.gpo.search=random) ;;
plain) method=(algorithm.gpo.enable=false) ;;
*) one_of METHOD "$METHOD" gpo random plain ;;
esac
# An estimator without a critic runs inside gpo's, on roots and on re-entry rollouts apart.
if [[ $METHOD == plain || $estimator == gae ]]; then
    method+=(algorithm.adv_estimator="$estimator")
else
    method+=(algorithm.adv_estimator=gpo algorithm.gpo.base_estimator="$estimator")
fi

COMMAND=(
    --config-path "$RECIPE_DIR/config" --config-name arithmetic
    data.train_files="$(quoted "$DATA_DIR/train.parquet")"
    data.val_files="$(quoted "$DATA_DIR/test.parquet")"
    data.max_response_length="$RESPONSE_LENGTH"
    actor_rollout_ref.model.path="$(quoted "$DATA_DIR/model")"
    reward.custom_reward_function.path="$(quoted "$RECIPE_DIR/reward.py")"
    trainer.experiment_name="arithmetic_${ALGO}_$METHOD"
    trainer.default_local_dir="$(quoted "$OUT_DIR/checkpoints")"
    trainer.n_gpus_per_node="$N_GPUS"
    "${algo[@]}" "${method[@]}" "$@"
)
if [[ $DRY_RUN != 0 ]]; then exec "$PYTHON" -m verl_gpo.plan "${COMMAND[@]}"; fi
# The preparation takes minutes: a setting that cannot work is better found before it.
if [[ ! -e $DATA_DIR && $# -gt 0 ]]; then "$PYTHON" -m verl_gpo.plan --quick --json "${COMMAND[@]}" >/dev/null; fi

# Recipes are not installed: found from the repository root, whatever the working directory.
PYTHONPATH=$RECIPE_DIR/../..${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1 \
    "$PYTHON" -m "${PREPARE[@]}" "${prepare_args[@]}" --out "$DATA_DIR"

mkdir -p "$OUT_DIR"
# The file of verl's file logger, which verl_gpo.report reads.
export VERL_FILE_LOGGER_PATH=${VERL_FILE_LOGGER_PATH:-$OUT_DIR/metrics.jsonl}

words main MAIN "${MAIN:--m verl.trainer.main_ppo}" # experiments train several in one pipeline (scripts/experiments/pipeline.py)
set -x
exec "$PYTHON" "${main[@]}" "${COMMAND[@]}"
