#!/usr/bin/env bash
# Sourced by the other scripts. `ensure_environment` makes .venv once and reuses it; $PYTHON is its interpreter.
# VENV=/elsewhere puts it somewhere else.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python
UV_VERSION=0.13.8

# Announce a step, and name it should it fail.
STEP=
step() {
    STEP=$1
    printf '\n==> %s\n' "$STEP"
}
trap 'printf "\nfailed: %s\n" "$STEP" >&2' ERR

# Run a command with its output in a log; show the log's end if it fails.
quietly() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "whole output: $log" >&2
        return 1
    fi
}

find_python() {
    local candidate
    for candidate in python3.12 python3.11 python3.10 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "no Python 3.10, 3.11 or 3.12 on the PATH" >&2
    return 1
}

has_accelerator() {
    compgen -G '/dev/nvidia[0-9]*' >/dev/null || { command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; }
}

ensure_environment() {
    local kind=cpu log=$ROOT/outputs/install.log stamp python
    if has_accelerator; then kind=gpu; fi
    # Installed again when what is to be installed has changed, and only then.
    stamp="$kind $(cat "$ROOT/setup.py" "$ROOT"/scripts/*cpu.txt | cksum)"
    if [ "$(cat "$VENV/.verl_gpo" 2>/dev/null)" = "$stamp" ]; then
        step "environment: $VENV (as installed before)"
        return
    fi
    python=$(find_python)
    step "environment: $VENV, for the $kind, with $("$python" --version) (about 7 GB; log: $log)"
    rm -f "$VENV/.verl_gpo" "$log"
    quietly "$log" "$python" -m venv "$VENV"
    quietly "$log" "$PYTHON" -m pip install --disable-pip-version-check "uv==$UV_VERSION"
    local install=("$PYTHON" -m uv pip install --python "$PYTHON")
    if [ "$kind" = cpu ]; then
        quietly "$log" "${install[@]}" --override "$ROOT/scripts/overrides-cpu.txt" -r "$ROOT/scripts/lock-cpu.txt"
        quietly "$log" "${install[@]}" --no-deps --editable "$ROOT"
    else
        # flash-attn builds against the torch that is installed, so torch goes first.
        quietly "$log" "${install[@]}" torch==2.11.0 setuptools wheel packaging ninja psutil
        quietly "$log" "${install[@]}" --no-build-isolation-package flash-attn --editable "${ROOT}[gpu,dev]"
    fi
    echo "$stamp" >"$VENV/.verl_gpo"
}
