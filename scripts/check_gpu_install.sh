#!/usr/bin/env bash
# Installs the environment for GPUs on any machine, and runs with it everything that needs no GPU: imports, the plan of
# every recipe, the unit tests. It takes 11 GB and some minutes, in an environment of its own.
#
#   VENV=FOLDER   folder of the environment; default: outputs/venv-gpu
#   KEEP=1        keeps it; otherwise it is deleted at the end
#   further arguments go to pytest, for example tests/plugin
set -Eeuo pipefail
export KIND=gpu
VENV=${VENV:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/outputs/venv-gpu}
# shellcheck source=scripts/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
cd "$ROOT"
# Nothing is fetched from a hub: the plan knows the sizes of the models that it needs.
export PYTHON HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 PATH=$VENV/bin:$PATH
mkdir -p outputs
log=$ROOT/outputs/check-gpu-plan.log
took() { echo "    $((SECONDS - start)) s"; }

start=$SECONDS
ensure_environment
took

step "imports"
start=$SECONDS
"$PYTHON" - <<'PYTHON'
import importlib.metadata as metadata
import importlib.util

for name in ("torch", "torchvision", "torchaudio", "transformers", "tensordict", "ray", "TransferQueue", "flashinfer-python"):
    importlib.import_module({"TransferQueue": "transfer_queue", "flashinfer-python": "flashinfer"}.get(name, name))
    print(f"    {name} {metadata.version(name)}")
import torch
import vllm
from vllm import LLM  # noqa: F401  (brings in the engine)

assert torch.version.cuda, "torch was not built for CUDA"
assert importlib.util.find_spec("flash_attn") is None, "the locked set has flash-attn, which is compiled"
print(f"    vllm {vllm.__version__}; torch is built for CUDA {torch.version.cuda}; no flash-attn")
PYTHON
took

step "doctor, as far as it needs no GPU"
start=$SECONDS
"$PYTHON" -m verl_gpo.doctor --only python torch verl flash-attn transferqueue disk versions
took

# Make a plan, with verl's own checks. The settings are given as environment variables; the output goes to the log.
plans=0
plan() {
    printf '\n--- %s\n' "$*" >>"$log"
    if ! env DRY_RUN=1 "$@" >>"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "the plan of $* failed; whole output: $log" >&2
        return 1
    fi
    plans=$((plans + 1))
}
names() { for path in recipes/math/config/"$1"/*.yaml; do basename "$path" .yaml; done; }

step "every recipe, composed and planned (log: $log)"
start=$SECONDS
rm -f "$log"
for setup in $(names setup); do plan SETUP="$setup" bash recipes/math/run.sh; done
for algo in $(names algo); do plan SETUP=qwen3_4b_dapo ALGO="$algo" bash recipes/math/run.sh; done
for method in random plain; do plan METHOD=$method bash recipes/math/run.sh; done
plan SETUP=r1_distill_qwen_7b ALGO=ppo bash recipes/math/run.sh
plan SETUP=qwen3_4b_dapo ENGINE=megatron bash recipes/math/run.sh
plan SETUP=qwen3_4b_dapo BACKEND=sglang bash recipes/math/run.sh
for algo in dpo kto simpo orpo; do plan ALGO=$algo bash recipes/math/offline.sh; done
plan "$PYTHON" -m verl_gpo.plan --config-path recipes/arithmetic/config --config-name arithmetic \
    data.train_files=train.parquet data.val_files=test.parquet actor_rollout_ref.model.path=model
plan bash scripts/first_gpu_run.sh --dry-run
echo "    $plans plans"
took

step "unit tests"
start=$SECONDS
"$PYTHON" -m pytest -m "not e2e" -n 2 --dist loadscope "$@"
took

if [ -z "${KEEP:-}" ]; then
    step "delete $VENV (KEEP=1 leaves it)"
    rm -rf "$VENV"
fi
