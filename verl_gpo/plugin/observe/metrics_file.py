"""Appends to verl's metrics file when a training resumes, and loses no line to a full disk or to a killed trainer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Environment variable that names the file of verl's file logger; the recipes set it.
PATH = "VERL_FILE_LOGGER_PATH"
#: Behind the name of the metrics file: a file with the step that is under way.
UNDER_WAY = ".step"


class WholeLines:
    """The raw file that verl's file logger writes to: a line is written as a whole, or kept until there is room.

    Args:
        file: unbuffered.
    """

    def __init__(self, file: io.FileIO):
        self._file, self._kept = file, b""

    def write(self, line: bytes) -> int:
        """Write the line, behind those that were kept. Never raises for a full disk; says what is kept."""
        self._kept += line
        before = self._file.seek(0, os.SEEK_END)
        try:
            left = memoryview(self._kept)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._file.truncate(before)
            number = self._kept.count(b"\n")
            print(
                f"verl_gpo: {self._file.name}: {error.strerror}; the metrics of {number} steps are not written, and "
                "kept in memory until there is room",
                file=sys.stderr,
                flush=True,
            )
        else:
            self._kept = b""
        return len(line)

    def close(self) -> None:
        """Close the file, after a last attempt to write what was kept."""
        if self._kept:
            self.write(b"")
        self._file.close()


def install() -> None:
    """Keep the content of the file named by :data:`PATH` when verl's file logger opens it, and write whole lines.

    Reason: verl 0.9.1 truncates the file whenever a training starts, so a run that resumes from a checkpoint loses the
    metrics of its earlier steps; and it does not notice when the disk has taken only a part of a line. We know of no
    upstream issue.
    Remove when: verl's ``FileLogger`` appends on resume, and writes whole lines.

    A run that starts from the beginning also keeps the content: :class:`~verl_gpo.traces.runlog.RunLog` drops old
    steps when the same step is logged again.
    """
    from verl.utils import tracking

    if tracking.FileLogger.__module__ == __name__:
        return

    class FileLogger(tracking.FileLogger):
        def __init__(self, *args: Any, **kwargs: Any):
            named = os.environ.get(PATH)
            appends = bool(named) and Path(named).is_file()
            if appends:
                os.environ[PATH] = os.devnull  # verl truncates the file that it opens
            try:
                super().__init__(*args, **kwargs)
            finally:
                if appends:
                    os.environ[PATH] = named
            if appends:
                self.fp.close()
                self.filepath, self.fp = named, Path(named).open("ab", buffering=0)  # noqa: SIM115  (verl closes it)
                self.fp.truncate(_complete(named))
                print(f"verl_gpo: metrics are appended to {named}", flush=True)
            self.fp = WholeLines(self.fp)
            if appends:
                _add_step_under_way(named, self.fp)

        def log(self, data: Any, step: int) -> None:
            super().log(data, step)
            _forget_step_under_way(self.filepath, step)

    tracking.FileLogger = FileLogger


def note_step(step: int, metrics: Mapping[str, float]) -> None:
    """Note what is known of a step whose rollouts are there, until it is logged.

    verl saves the checkpoint of a step before it logs the step. If the trainer is killed in between, the resumed run
    does not do the step again, and it would be missing.
    """
    named = os.environ.get(PATH)
    if named:
        with contextlib.suppress(OSError):
            beside = Path(f"{named}{UNDER_WAY}.new")
            beside.write_text(json.dumps({"step": step, "data": dict(metrics)}) + "\n")
            beside.replace(f"{named}{UNDER_WAY}")


def _add_step_under_way(named: str, lines: WholeLines) -> None:
    """Add the step that was under way when the trainer was killed. If it is done again, its new line replaces it."""
    try:
        line = Path(f"{named}{UNDER_WAY}").read_bytes()
        step = json.loads(line)["step"]
        logged = [json.loads(known)["step"] for known in Path(named).read_bytes().splitlines()[-1:]]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if all(step > known for known in logged):
        lines.write(line)


def _forget_step_under_way(named: str, step: int) -> None:
    path = Path(f"{named}{UNDER_WAY}")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(path.read_bytes())["step"] <= step:
            path.unlink()


def _complete(path: str) -> int:
    """Number of bytes of a file's complete lines: an interruption may have left an incomplete line at the end."""
    return Path(path).read_bytes().rfind(b"\n") + 1
