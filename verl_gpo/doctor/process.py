"""A short program in a new process, so that a package that fails or hangs at import does not end the doctor."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any


class ProgramFailed(RuntimeError):
    """The program ended with an error, or took too long. The message is one line."""


def ask(program: str, timeout: float = 180.0) -> Any:
    """Run a program, and return the value that its last line of output holds.

    It runs in an empty folder, so that it imports what is installed, and no file of the current folder.

    Args:
        program: Python source that prints JSON on its last line.
        timeout: seconds that it may take.

    Raises:
        ProgramFailed: it failed; the message is the last line of its standard error.

    >>> ask("print([1, 2])")
    [1, 2]
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
