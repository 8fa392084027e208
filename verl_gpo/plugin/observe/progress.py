"""Writes in which phase a rollout worker's prompts are, for the live progress display (:mod:`verl_gpo.report.live`).

If the environment variable ``VERL_GPO_PROGRESS`` names a folder, each worker keeps one small file there, which is
replaced at most five times a second. Otherwise nothing is written.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from pathlib import Path

from ...traces.phases import FOLDER, PHASES

logger = logging.getLogger(__name__)

INTERVAL = 0.2


class Progress:
    """Counts one worker's prompts by phase. Never raises.

    Args:
        name: name of this worker, and of its file.
    """

    def __init__(self, name: str):
        folder = os.environ.get(FOLDER)
        self._file = Path(folder) / f"{name}.json" if folder else None
        self._step = -1
        self._phases: dict[str, str] = {}
        self._next = 0.0

    def enter(self, step: int, uid: str, phase: str) -> None:
        """A prompt of a training step enters one of :data:`~verl_gpo.traces.phases.PHASES`."""
        if self._file is None:
            return
        if step > self._step:
            # In asynchronous modes prompts of the previous step may still run; they are no longer counted.
            self._step, self._phases = step, {}
        if step == self._step:
            self._phases[uid] = phase
        if time.monotonic() >= self._next or set(self._phases.values()) == {PHASES[-1]}:
            self._write()

    def _write(self) -> None:
        self._next = time.monotonic() + INTERVAL
        try:
            beside = self._file.with_suffix(".new")
            beside.write_text(json.dumps({"step": self._step, **Counter(self._phases.values())}), encoding="utf-8")
            beside.replace(self._file)
        except OSError as error:
            logger.warning("progress cannot be written and is not shown: %s", error)
            self._file = None
