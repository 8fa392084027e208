"""Warnings of verl_gpo reach the log of a run, whatever other packages have done to the root logger."""

from __future__ import annotations

import logging


class Unheard(logging.StreamHandler):
    """Writes to stderr what no handler of the root logger writes."""

    def emit(self, record: logging.LogRecord) -> None:
        if not any(handler.level <= record.levelno for handler in logging.getLogger().handlers):
            super().emit(record)


def install() -> None:
    """Give verl_gpo's logger a level and a handler of its own.

    Reason: a process that imports vLLM's server has a root logger, and a handler of it, at level ERROR (vLLM 0.24). On
    a CPU the rollout workers are such processes, so nobody would read that a continuation or a reward failed, or why.
    Remove when: importing vLLM leaves the root logger alone.
    """
    ours = logging.getLogger("verl_gpo")
    if any(isinstance(handler, Unheard) for handler in ours.handlers):
        return
    ours.setLevel(logging.WARNING)
    handler = Unheard()
    handler.setFormatter(logging.Formatter("%(levelname)s:%(asctime)s:%(message)s"))  # as verl's
    ours.addHandler(handler)
