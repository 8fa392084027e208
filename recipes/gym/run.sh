#!/usr/bin/env bash
# reasoning-gym: recipes/arithmetic/run.sh on problems of reasoning-gym, graded by its scorers.
#
#   TASK=chain_sum    the running total of eight numbers (default)
#   TASK=count_bits   how many ones a number has in binary, by halving it
#
# METHOD, ALGO, PRESET, DATA_DIR, OUT_DIR, N_GPUS, PYTHON and DRY_RUN are as in that script, and further arguments are verl's, e.g.
#   TASK=count_bits METHOD=random bash recipes/gym/run.sh trainer.total_training_steps=32
set -Eeuo pipefail

GYM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/shell.sh
source "$GYM_DIR/../shell.sh"
TASK=${TASK:-chain_sum}
ALGO=${ALGO:-grpo}
METHOD=${METHOD:-gpo}
DATA_DIR=${DATA_DIR:-$PWD/outputs/gym/$TASK/data}
OUT_DIR=${OUT_DIR:-$PWD/outputs/gym/$TASK/$ALGO-$METHOD}

# A right response has 44 and at most 131 tokens.
case $TASK in
chain_sum) RESPONSE_LENGTH=${RESPONSE_LENGTH:-64} ;;
count_bits) RESPONSE_LENGTH=${RESPONSE_LENGTH:-160} ;;
*) one_of TASK "$TASK" chain_sum count_bits ;;
esac
PREPARE=(recipes.gym.prepare --task "$TASK")

# shellcheck source=recipes/arithmetic/run.sh
source "$GYM_DIR/../arithmetic/run.sh" \
    data.max_prompt_length=96 \
    reward.custom_reward_function.path=pkg://verl_gpo.graders \
    trainer.experiment_name="${TASK}_${ALGO}_$METHOD" \
    "$@"
