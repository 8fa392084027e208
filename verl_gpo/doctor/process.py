"""A short program in a fresh interpreter: what cannot be imported must not take the doctor with it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any


class ProgramFailed(RuntimeError):
    """The program ended with an error, or took too long. The message is one line."""


def ask(program: str, timeout: float = 180.0) -> Any:
    """Run a program, and return what its last line of output says.

    It runs in an empty folder, so that it finds what is installed and not what lies in the current folder.

    Args:
        program: Python source that prints JSON on its last line.
        timeout: in seconds.

    Raises:
        ProgramFailed: with the last line that it wrote to its standard error.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            result = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout, cwd=folder
            )
        except subprocess.TimeoutExpired as error:
            raise ProgramFailed(f"no answer within {timeout:.0f} s") from error
    if result.returncode:
        raise ProgramFailed(_last_line(result.stderr) or f"ended with status {result.returncode}")
    try:
        return json.loads(_last_line(result.stdout))
    except json.JSONDecodeError as error:
        raise ProgramFailed(f"said '{_last_line(result.stdout)}'") from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
