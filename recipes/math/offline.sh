#!/usr/bin/env bash
# The paper's offline methods: preference pairs at critical steps, then DPO, KTO, SimPO or ORPO with TRL.
#
#   ALGO     dpo, kto, simpo, orpo                                                          dpo
#   METHOD   gpo, or a twin: random (pairs from any state), plain (pairs of whole responses) gpo
#   TOKENS   that a build may generate, the same for each method: the twins are at equal tokens
#   MODEL, DATASET, DATA_DIR, PAIRS_DIR, OUT_DIR, PRESET, N_GPUS, SEED, PYTHON
#   GPO      settings of algorithm.gpo, e.g. GPO="n_mc=8 splitter=regex splitter_option='(?<=[.!?]) '"; what has spaces
#            in it is quoted, backslashes stand for themselves
#   LAUNCH   how TRL is started
#   DRY_RUN=1 checks both command lines, prints what they will do, and starts nothing; the check comes first in any case
#
# Further arguments are TRL's, e.g.   ALGO=simpo bash recipes/math/offline.sh simpo_gamma=1.5
#
# Stated by the paper: the model, LoRA, the four losses, N_mc = 4. Not stated in any source we could read, so ours: ranks,
# learning rates, batch, lengths; DPO's, KTO's and ORPO's beta are TRL's defaults, SimPO's verl_gpo.offline.train's.
set -euo pipefail

# shellcheck source=recipes/shell.sh
source "$(dirname "${BASH_SOURCE[0]}")/../shell.sh"
DRY_RUN=${DRY_RUN:-0}
ALGO=${ALGO:-dpo}
METHOD=${METHOD:-gpo}
PRESET=${PRESET:-paper}
MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}
DATASET=${DATASET:-math}
DATA_DIR=${DATA_DIR:-$HOME/data}
TOKENS=${TOKENS:-100000000}
SEED=${SEED:-0}
N_GPUS=${N_GPUS:-8}
PAIRS_DIR=${PAIRS_DIR:-$PWD/outputs/math/pairs/$DATASET-$METHOD-$SEED} # made once for all losses
OUT_DIR=${OUT_DIR:-$PWD/outputs/math/offline/$DATASET-$ALGO-$METHOD-$SEED}
PYTHON=${PYTHON:-python}
gpo=()
words gpo GPO "${GPO:-max_steps=8}"

one_of METHOD "$METHOD" gpo random plain
count N_GPUS "$N_GPUS"
[[ -d $TOKENS ]] || count TOKENS "$TOKENS" # otherwise the folder of a build with the same budget
[[ $SEED == 0 ]] || count SEED "$SEED"
program PYTHON "$PYTHON"
# LoRA wants about ten times the learning rate that all weights want.
case $ALGO in
dpo | kto) algo=(learning_rate=5e-6) ;;
simpo | orpo) algo=(learning_rate=8e-6) ;;
*) one_of ALGO "$ALGO" dpo kto simpo orpo ;;
esac
if [[ -n ${LAUNCH:-} ]]; then
    words launch LAUNCH "$LAUNCH"
else
    launch=("$PYTHON")
    if ((N_GPUS > 1)); then launch+=(-m accelerate.commands.launch --num_processes "$N_GPUS"); fi
fi
# Rows of an optimizer step on each GPU: one at a time, but for KTO, whose KL term needs other prompts beside each.
rows=$((64 / N_GPUS > 0 ? 64 / N_GPUS : 1)) at_once=1
if [[ $ALGO == kto ]]; then rows=$((rows < 2 ? 2 : rows)) at_once=2; fi

BUILD=(
    --model "$MODEL" --data "$DATA_DIR/$DATASET/train.parquet" --out "$PAIRS_DIR" --method "$METHOD"
    --roots 8 --token-budget "$TOKENS" --seed "$SEED"
    --response-length 8192 --max-model-len 9216 --temperature 0.6 --top-p 0.95
    preset="$PRESET" "${gpo[@]}"
)
TRAIN=(
    --method "$ALGO" --model "$MODEL" --pairs "$PAIRS_DIR" --out "$OUT_DIR" --merge
    use_peft=true lora_r=64 lora_alpha=64 lora_target_modules=all-linear
    per_device_train_batch_size="$at_once" gradient_accumulation_steps="$((rows / at_once))"
    num_train_epochs=1 lr_scheduler_type=cosine warmup_steps=20 max_length=8192
    bf16=true gradient_checkpointing=true logging_steps=5 save_steps=100 seed="$SEED"
    "${algo[@]}" "$@"
)

# Both command lines are checked before the build, which takes hours. What a response is assumed to be: as in
# config/setup/r1_distill_qwen_7b.yaml.
"$PYTHON" -m verl_gpo.plan.offline --steps 8 --response-tokens 2500 -- "${BUILD[@]}" -- "${TRAIN[@]}"
if [[ $DRY_RUN != 0 ]]; then exit; fi

set -x
"$PYTHON" -m verl_gpo.offline.build "${BUILD[@]}"
"${launch[@]}" -m verl_gpo.offline.train "${TRAIN[@]}"
