"""A line of the table."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, WRONG = "ok", "note", "WRONG"


@dataclass(frozen=True)
class Finding:
    """What was looked at and what was found.

    Attributes:
        name: of what was looked at.
        state: ``OK``; ``NOTE``, which costs something but works; ``WRONG``, with which training fails.
        found: version, size or error.
        remedy: what to do about it.
    """

    name: str
    state: str
    found: str
    remedy: str = ""
