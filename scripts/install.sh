#!/usr/bin/env bash
# Makes the environment .venv, unless it is there already. $PYTHON is its interpreter. The other scripts source this file.
#
#   bash scripts/install.sh
#
#   VENV=/elsewhere   makes it in another folder
#   KIND=cpu or gpu   what it is for, by default what this machine has
#   FLASH=1           also compiles flash-attn, which is optional; it needs CUDA's toolkit, and minutes to hours
#   WHEELS=FOLDER     installs everything from this folder, without a network (scripts/first_gpu_run.sh fetch)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python
UV_VERSION=0.13.8

# Print the name of a step; if it fails, the name is printed again.
STEP=
step() {
    STEP=$1
    printf '\n==> %s\n' "$STEP"
}
trap 'printf "\nfailed: %s\n" "$STEP" >&2' ERR

# Run a command with its output in a log. If it fails, show the end of the log.
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
    local kind=${KIND:-} log=$ROOT/outputs/install.log stamp python
    if [ -z "$kind" ]; then if has_accelerator; then kind=gpu; else kind=cpu; fi; fi
    local locked=$ROOT/scripts/lock-$kind.txt
    if [ ! -f "$locked" ]; then
        echo "KIND=$kind: must be cpu or gpu" >&2
        return 2
    fi
    # It is installed again only if the requirements have changed.
    stamp="$kind${FLASH:+ flash} $(cat "$ROOT/setup.py" "$ROOT/scripts/overrides-cpu.txt" "$locked" | cksum)"
    if [ "$(cat "$VENV/.verl_gpo" 2>/dev/null)" = "$stamp" ]; then
        step "environment: $VENV (as installed before)"
        return
    fi
    python=$(find_python)
    step "environment: $VENV, for the $kind, with $("$python" --version) (about 7 to 10 GB; log: $log)"
    rm -f "$VENV/.verl_gpo" "$log"
    local offline=()
    if [ -n "${WHEELS:-}" ]; then offline=(--no-index --find-links "$WHEELS"); fi
    quietly "$log" "$python" -m venv "$VENV"
    quietly "$log" "$PYTHON" -m pip install --disable-pip-version-check "${offline[@]}" "uv==$UV_VERSION"
    local install=("$PYTHON" -m uv pip install --python "$PYTHON" "${offline[@]}")
    local override=()
    if [ "$kind" = cpu ]; then override=(--override "$ROOT/scripts/overrides-cpu.txt"); fi
    quietly "$log" "${install[@]}" "${override[@]}" -r "$locked"
    quietly "$log" "${install[@]}" --no-deps --no-build-isolation --editable "$ROOT"
    if [ -n "${FLASH:-}" ]; then
        step "flash-attn, compiled (log: $log)"
        quietly "$log" "${install[@]}" wheel
        quietly "$log" "${install[@]}" --no-build-isolation --editable "${ROOT}[flash]"
    fi
    echo "$stamp" >"$VENV/.verl_gpo"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -Eeuo pipefail
    ensure_environment
fi
