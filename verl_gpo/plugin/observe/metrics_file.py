"""verl's metrics file goes on where it was when a training resumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

#: Where verl's file logger writes, if it is set; the recipes set it.
PATH = "VERL_FILE_LOGGER_PATH"


def install() -> None:
    """Keep what the file named by :data:`PATH` holds when verl's file logger opens it.

    Reason: verl 0.9.1 truncates the file each time that a training starts, so a run that goes on from a checkpoint
    loses the metrics of its steps so far. We know of no upstream issue.
    Remove when: verl's ``FileLogger`` appends on resume.

    What a run from the start finds is kept as well: a step that is logged again supersedes those from there on, for
    :class:`~verl_gpo.traces.runlog.RunLog`.
    """
    from verl.utils import tracking

    if tracking.FileLogger.__module__ == __name__:
        return

    class FileLogger(tracking.FileLogger):
        def __init__(self, *args: Any, **kwargs: Any):
            named = os.environ.get(PATH)
            if not named or not Path(named).is_file():
                super().__init__(*args, **kwargs)
                return
            os.environ[PATH] = os.devnull  # what verl opens, it truncates
            try:
                super().__init__(*args, **kwargs)
            finally:
                os.environ[PATH] = named
            self.fp.close()
            self.filepath, self.fp = named, Path(named).open("ab", buffering=0)  # noqa: SIM115  (verl closes it)
            self.fp.truncate(_complete(named))
            print(f"verl_gpo: metrics go on in {named}", flush=True)

    tracking.FileLogger = FileLogger


def _complete(path: str) -> int:
    """Bytes of a file's complete lines: an interruption may have left half a line."""
    return Path(path).read_bytes().rfind(b"\n") + 1
