#!/usr/bin/env bash
# The paper's offline methods: preference pairs at critical steps, then DPO, KTO, SimPO or ORPO with TRL.
#
#   ALGO     dpo, kto, simpo, orpo                                                          dpo
#   METHOD   gpo, or a twin: random (pairs from any state), plain (pairs of whole responses) gpo
#   TOKENS   that a build may generate, the same for each method: the twins are at equal tokens
#   MODEL, DATASET, DATA_DIR, PAIRS_DIR, OUT_DIR, PRESET, N_GPUS, SEED, PYTHON
#   GPO      settings of algorithm.gpo, e.g. GPO="n_mc=8 max_steps=16"
#   LAUNCH   how TRL is started
#   DRY_RUN=1 checks both command lines, prints what they will do, and starts nothing; a run begins with the same checks
#
# Further arguments are TRL's, e.g.   ALGO=simpo bash recipes/math/offline.sh simpo_gamma=1.5
#
# Stated by the paper: the model, LoRA, the four losses, N_mc = 4. Not stated in any source we could read, so ours: ranks,
# learning rates, batch, lengths; DPO's, KTO's and ORPO's beta are TRL's defaults, SimPO's verl_gpo.offline.train's.
set -euo pipefail

DRY_RUN=${DRY_RUN:-0}
if [[ $DRY_RUN == 0 ]]; then set -x; fi

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
read -ra GPO <<<"${GPO:-max_steps=8}"

case $METHOD in
gpo | random | plain) ;;
*)
    echo "METHOD=$METHOD: must be one of gpo random plain" >&2
    exit 2
    ;;
esac
# LoRA wants about ten times the learning rate that all weights want.
BATCH=1 # rows of a GPU at once: pairs, and for KTO the two continuations of one
case $ALGO in
dpo) algo=(learning_rate=5e-6) ;;
kto) algo=(learning_rate=5e-6) BATCH=2 ;; # its KL term needs another row beside one, and TRL refuses 1
simpo | orpo) algo=(learning_rate=8e-6) ;;
*)
    echo "ALGO=$ALGO: must be one of dpo kto simpo orpo" >&2
    exit 2
    ;;
esac
if [[ -z ${LAUNCH:-} ]]; then
    LAUNCH="$PYTHON"
    if ((N_GPUS > 1)); then LAUNCH="$PYTHON -m accelerate.commands.launch --num_processes $N_GPUS"; fi
fi
read -ra LAUNCH <<<"$LAUNCH"

BUILD=(
    --model "$MODEL" --data "$DATA_DIR/$DATASET/train.parquet" --out "$PAIRS_DIR" --method "$METHOD"
    --roots 8 --token-budget "$TOKENS" --seed "$SEED"
    --response-length 8192 --max-model-len 9216 --temperature 0.6 --top-p 0.95
    preset="$PRESET" "${GPO[@]}"
)
TRAIN=(
    --method "$ALGO" --model "$MODEL" --pairs "$PAIRS_DIR" --out "$OUT_DIR" --merge
    use_peft=true lora_r=64 lora_alpha=64 lora_target_modules=all-linear
    per_device_train_batch_size=$BATCH gradient_accumulation_steps="$((64 / N_GPUS > 0 ? 64 / N_GPUS : 1))"
    num_train_epochs=1 lr_scheduler_type=cosine warmup_steps=20 max_length=8192
    bf16=true gradient_checkpointing=true logging_steps=5 save_steps=100 seed="$SEED"
    "${algo[@]}" "$@"
)

# What a response is assumed to be: as in config/setup/r1_distill_qwen_7b.yaml.
CHECK=("$PYTHON" -m verl_gpo.plan.offline --steps 8 --response-tokens 2500 -- "${BUILD[@]}" -- "${TRAIN[@]}")
if [[ $DRY_RUN != 0 ]]; then exec "${CHECK[@]}"; fi
"${CHECK[@]}" >/dev/null # what the training would refuse is refused before hours of drawing

"$PYTHON" -m verl_gpo.offline.build "${BUILD[@]}"
"${LAUNCH[@]}" -m verl_gpo.offline.train "${TRAIN[@]}"
