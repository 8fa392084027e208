#!/usr/bin/env bash
# Arithmetic, offline: pairs from the model itself, preference optimization with TRL, evaluation; from one script.
#
#   METHOD=gpo      pairs from the state before the critical step (default)
#   METHOD=random   pairs from the state before a random step: the paper's ablation
#   METHOD=plain    pairs of whole responses
#
#   ALGO=dpo (default), kto, simpo, orpo
#
# All methods get the same TOKENS to generate, and an optimizer's settings and its steps are the same under all of them.
# Further arguments are TRL's, e.g.
#   ALGO=kto METHOD=plain bash recipes/arithmetic/offline.sh beta=0.3
set -Eeuo pipefail

RECIPE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/shell.sh
source "$RECIPE_DIR/../shell.sh"
PYTHON=${PYTHON:-python}
ALGO=${ALGO:-dpo}
METHOD=${METHOD:-gpo}
PRESET=${PRESET:-paper}
SEED=${SEED:-0}
TOKENS=${TOKENS:-150000}
STEPS=${STEPS:-40}
DATA_DIR=${DATA_DIR:-$PWD/outputs/arithmetic/data}
PAIRS_DIR=${PAIRS_DIR:-$PWD/outputs/arithmetic/pairs-$METHOD-$SEED} # made once for all optimizers
OUT_DIR=${OUT_DIR:-$PWD/outputs/arithmetic/$ALGO-$METHOD-$SEED}
STAGES=${STAGES:-pairs train evaluate} # which of them
read -ra prepare_args <<<"${PREPARE_ARGS:-}" # other problems, as in run.sh
# How TRL is started; for several GPUs e.g. LAUNCH="accelerate launch --config_file recipes/accelerate/fsdp.yaml"
launch=("$PYTHON")
if [[ -n ${LAUNCH:-} ]]; then words launch LAUNCH "$LAUNCH"; fi
stages=()
words stages STAGES "$STAGES"
for stage in "${stages[@]}"; do one_of STAGES "$stage" pairs train evaluate; done
[[ -d $TOKENS ]] || count TOKENS "$TOKENS" # otherwise the folder of a build with the same budget
[[ $SEED == 0 ]] || count SEED "$SEED"
count STEPS "$STEPS"
program PYTHON "$PYTHON"

# The learning rate suits a model of 99 K parameters; at two to three times of it DPO, SimPO and ORPO unlearn the task under
# some method. All else is TRL's default.
case $ALGO in
dpo | simpo) algo=(learning_rate=3e-5) ;;
kto | orpo) algo=(learning_rate=1e-4) ;;
*) one_of ALGO "$ALGO" dpo kto simpo orpo ;;
esac
one_of METHOD "$METHOD" gpo random plain

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # more threads do not make such small matrices faster
# Recipes are not installed: found from the repository root, whatever the working directory.
PYTHONPATH=$RECIPE_DIR/../..${PYTHONPATH:+:$PYTHONPATH} \
    "$PYTHON" -m recipes.arithmetic.prepare "${prepare_args[@]}" --out "$DATA_DIR"

BUILD=(
    --model "$DATA_DIR/model" --data "$DATA_DIR/train.parquet" --reward "$RECIPE_DIR/reward.py"
    --out "$PAIRS_DIR" --method "$METHOD" --token-budget "$TOKENS" --visits 4 --seed "$SEED" --roots 4
    --response-length 96 --max-model-len 256
    preset="$PRESET" min_step_tokens=3
)
TRAIN=(
    --method "$ALGO" --model "$DATA_DIR/model" --pairs "$PAIRS_DIR" --out "$OUT_DIR"
    max_steps="$STEPS" per_device_train_batch_size=32 lr_scheduler_type=constant_with_warmup warmup_steps=5
    gradient_checkpointing=false save_strategy=no seed="$SEED"
    "${algo[@]}" "$@"
)

if [[ " ${stages[*]} " == *" pairs "* ]]; then
    # The training's settings are checked before the build.
    "$PYTHON" -m verl_gpo.plan.offline --steps 9 --response-tokens 54 -- "${BUILD[@]}" -- "${TRAIN[@]}"
    "$PYTHON" -m verl_gpo.offline.build "${BUILD[@]}"
fi

if [[ " ${stages[*]} " == *" train "* ]]; then
    "${launch[@]}" -m verl_gpo.offline.train "${TRAIN[@]}"
fi

if [[ " ${stages[*]} " == *" evaluate "* ]]; then
    "$PYTHON" -m verl_gpo.evaluation \
        --model "$OUT_DIR" --benchmarks arithmetic="$DATA_DIR/test.parquet" --reward "$RECIPE_DIR/reward.py" \
        --out "$OUT_DIR/evaluation" --k 4 --temperature 1 --top-p 1 --max-tokens 96 --max-model-len 256
fi
