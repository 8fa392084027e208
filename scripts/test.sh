#!/usr/bin/env bash
# All checks: style, unit tests, and end-to-end runs with vLLM, Ray, FSDP and verl. Arguments go to pytest:
#   bash scripts/test.sh -m "not e2e"     # without the end-to-end runs
set -Eeuo pipefail
# shellcheck source=scripts/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
cd "$ROOT"

ensure_environment
# For the programs that tests look for, shellcheck among them.
export PATH=$VENV/bin:$PATH

step "a browser for the tests of the report page"
"$PYTHON" -m tests.chromium

step "style"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .

step "tests"
if [ $# -gt 0 ]; then
    "$PYTHON" -m pytest "$@"
else
    # Pipelines run one after the other, since two of them starve Ray's start. The seconds in which they leave a core idle
    # go to all other tests, a process for each core, under the scheduling policy that takes nothing else from anybody.
    # Both run to their ends, whatever fails.
    others=$ROOT/outputs/tests.log status=0 idle=(chrt --idle 0)
    mkdir -p "$ROOT/outputs"
    "${idle[@]}" true 2>/dev/null || idle=(nice -n 19) # where a container forbids the policy
    OMP_NUM_THREADS=1 "${idle[@]}" "$PYTHON" -m pytest -m "not pipeline" -n auto --dist loadscope >"$others" 2>&1 &
    beside=$!
    trap 'kill "$beside" 2>/dev/null || true' EXIT
    echo "pipelines; beside them the other tests, whose output is in $others and follows in the end"
    "$PYTHON" -m pytest -m "pipeline and not long" || status=$?
    wait "$beside" || status=$?
    step "tests without a pipeline"
    cat "$others"
    [ "$status" = 0 ]
fi
