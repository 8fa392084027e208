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
"$PYTHON" scripts/chromium.py

step "style"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .

step "tests"
"$PYTHON" -m pytest "$@"
