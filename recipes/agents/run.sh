#!/usr/bin/env bash
# Agents: recipes/arithmetic/run.sh on a task with two tools, of which one is an environment with state.
#
#   METHOD=gpo            reset to the critical turn (default)
#   METHOD=random         reset to a random turn
#   METHOD=tool_entropy   reset to the turn behind the tool call after which the policy is least certain (ARPO's rule)
#   METHOD=plain          the optimizer alone; the rollout worker only counts
#
# ALGO, PRESET, DATA_DIR, OUT_DIR, N_GPUS, RESPONSE_LENGTH, PREPARE_ARGS, PYTHON and DRY_RUN are as in that script, and
# further arguments are verl's, e.g.
#   PRESET=fast bash recipes/agents/run.sh trainer.total_training_steps=4
# AGENT=tool_agent runs verl's own agent loop instead; its trajectories are not re-entered, so it goes with METHOD=plain.
set -Eeuo pipefail

AGENTS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=recipes/shell.sh
source "$AGENTS_DIR/../shell.sh"
ALGO=${ALGO:-grpo}
METHOD=${METHOD:-gpo}
AGENT=${AGENT:-gpo_tool_agent}
one_of METHOD "$METHOD" gpo random tool_entropy plain
one_of AGENT "$AGENT" gpo_tool_agent tool_agent
DATA_DIR=${DATA_DIR:-$PWD/outputs/agents/data}
OUT_DIR=${OUT_DIR:-$PWD/outputs/agents/$ALGO-$METHOD}
# A right conversation has 139 tokens behind the prompt.
RESPONSE_LENGTH=${RESPONSE_LENGTH:-192}
count RESPONSE_LENGTH "$RESPONSE_LENGTH"
PREPARE=(recipes.agents.prepare --agent "$AGENT")
# Ray's workers import the environment by its name, and recipes are not installed.
PYTHONPATH=$(cd "$AGENTS_DIR/../.." && pwd)${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH

experiment=agents_${ALGO}_$METHOD
search=()
if [[ $METHOD == tool_entropy ]]; then
    METHOD=gpo
    search=(algorithm.gpo.search=tool_entropy)
fi
multi_turn=actor_rollout_ref.rollout.multi_turn

# shellcheck source=recipes/arithmetic/run.sh
source "$AGENTS_DIR/../arithmetic/run.sh" \
    data.max_prompt_length=32 \
    actor_rollout_ref.rollout.max_model_len=$((32 + RESPONSE_LENGTH)) \
    "$multi_turn.enable=true" \
    "$multi_turn.format=hermes" \
    "$multi_turn.max_assistant_turns=12" \
    "$multi_turn.tool_config_path=$(quoted "$AGENTS_DIR/config/tools.yaml")" \
    "$multi_turn.function_tool_path=$(quoted "$AGENTS_DIR/calculator.py")" \
    reward.custom_reward_function.path="$(quoted "$AGENTS_DIR/reward.py")" \
    trainer.experiment_name="$experiment" \
    algorithm.gpo.splitter=turn \
    "${search[@]}" \
    "$@"
