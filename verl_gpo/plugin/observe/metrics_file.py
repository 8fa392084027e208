"""Appends to verl's metrics file when a training resumes, instead of overwriting it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

#: Environment variable that names the file of verl's file logger; the recipes set it.
PATH = "VERL_FILE_LOGGER_PATH"


def install() -> None:
    """Keep the content of the file named by :data:`PATH` when verl's file logger opens it.

    Reason: verl 0.9.1 truncates the file whenever a training starts, so a run that resumes from a checkpoint loses the
    metrics of its earlier steps. We know of no upstream issue.
    Remove when: verl's ``FileLogger`` appends on resume.

    A run that starts from the beginning also keeps the content: :class:`~verl_gpo.traces.runlog.RunLog` drops old
    steps when the same step is logged again.
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
            os.environ[PATH] = os.devnull  # verl truncates the file that it opens
            try:
                super().__init__(*args, **kwargs)
            finally:
                os.environ[PATH] = named
            self.fp.close()
            self.filepath, self.fp = named, Path(named).open("ab", buffering=0)  # noqa: SIM115  (verl closes it)
            self.fp.truncate(_complete(named))
            print(f"verl_gpo: metrics are appended to {named}", flush=True)

    tracking.FileLogger = FileLogger


def _complete(path: str) -> int:
    """Number of bytes of a file's complete lines: an interruption may have left an incomplete line at the end."""
    return Path(path).read_bytes().rfind(b"\n") + 1
