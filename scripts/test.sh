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
else # a process for each core, but one pipeline at a time, since two of them starve Ray's start; both even if one fails
    status=0
    OMP_NUM_THREADS=1 "$PYTHON" -m pytest -m "not pipeline" -n auto --dist loadscope || status=$?
    "$PYTHON" -m pytest -m "pipeline and not long" || status=$?
    [ "$status" = 0 ]
fi
