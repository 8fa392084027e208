#!/usr/bin/env bash
# All checks: style, unit tests, and end-to-end runs of the real vLLM, Ray, FSDP and verl. Arguments go to pytest,
# e.g.   bash scripts/test.sh -m "not e2e"
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
else # one a core, but pipelines one at a time (two starve Ray's start); both, whatever the first came to
    status=0
    OMP_NUM_THREADS=1 "$PYTHON" -m pytest -m "not pipeline" -n auto --dist loadscope || status=$?
    "$PYTHON" -m pytest -m pipeline || status=$?
    [ "$status" = 0 ]
fi
