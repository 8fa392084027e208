#!/usr/bin/env bash
# Writes the locked sets, lock-cpu.txt and lock-gpu.txt, for Python 3.10 to 3.12, from the extras of setup.py. A locked
# version is kept as long as it is compatible with the others.
#
#   bash scripts/lock.sh              # after a change of setup.py
#   bash scripts/lock.sh --upgrade    # takes the newest version of everything that setup.py does not pin
#   bash scripts/lock.sh --check      # writes nothing; fails if a locked set is not what setup.py asks for
set -Eeuo pipefail
# shellcheck source=scripts/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
cd "$ROOT"

UV=${UV:-$VENV/bin/uv} # any other uv of version UV_VERSION (scripts/install.sh) does as well
check=
case ${1:-} in
--check) check=1 ;;
--upgrade | '') ;;
*)
    echo "$1: must be one of --check --upgrade" >&2
    exit 2
    ;;
esac
if [ "$("$UV" --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
    echo "UV=$UV: must be uv $UV_VERSION; 'bash scripts/install.sh' installs it" >&2
    exit 2
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Resolve one set: its name, then further arguments of uv. Versions that are locked so far are preferred.
lock() {
    local kind=$1 found
    shift
    found=$folder/lock-$kind.txt
    step "locked set for the $kind"
    # A set that is not there yet starts from the CPU's, so that both have the same versions of what they share.
    cp "scripts/lock-$kind.txt" "$found" 2>/dev/null || cp scripts/lock-cpu.txt "$found"
    "$UV" pip compile setup.py --extra "$kind" --extra offline --extra dev "$@" --universal --python-version 3.10 \
        --no-header --no-annotate --quiet -o "$found"
    if [ -n "$check" ]; then
        diff "scripts/lock-$kind.txt" "$found"
    else
        cp "$found" "scripts/lock-$kind.txt"
    fi
}

upgrade=()
if [ "${1:-}" = --upgrade ]; then upgrade=(--upgrade); fi
lock cpu --override scripts/overrides-cpu.txt "${upgrade[@]}"
lock gpu "${upgrade[@]}"
