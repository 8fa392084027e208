"""A line of the table."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, WRONG = "ok", "note", "WRONG"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        name: what was checked.
        state: ``OK``; ``NOTE``, if a training works but costs more; or ``WRONG``, if it fails.
        found: the version, the size or the error that was found.
        remedy: what to do about it; "" for nothing.
    """

    name: str
    state: str
    found: str
    remedy: str = ""
