"""Marks at the end of a group id, which tell rows of ours from others.

verl's estimators see rewards, masks and group ids only, so what a row is has to be said by its group id. The ids of
prompts may be any text. So a mark ends with a checksum of all that stands before it, and an id that only looks like
ours is not taken for one.

>>> marked("p", "reset", "0.3")
'p@gpo.reset.0.3.4aa020ae'
>>> unmarked('p@gpo.reset.0.3.4aa020ae', "reset")
('p', '0.3')
>>> unmarked("p@gpo.reset.0.3", "reset") is None
True
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable


def marked(uid: str, kind: str, content: str) -> str:
    """A group id that says what its rows are.

    Args:
        uid: of the prompt.
        kind: of the mark; a word.
        content: without ``@``. Neither of the two contains ``_``, because verl's keys forbid it in a uid.
    """
    text = f"{uid}@gpo.{kind}.{content}"
    return f"{text}.{_checksum(text)}"


def unmarked(uid: Hashable, kind: str) -> tuple[str, str] | None:
    """The prompt's uid and the content of a mark of this kind; None for a group id that does not end with one."""
    if not isinstance(uid, str):
        return None
    text, _, checksum = uid.rpartition(".")
    prompt, mark, content = text.rpartition(f"@gpo.{kind}.")
    return (prompt, content) if mark and "@" not in content and checksum == _checksum(text) else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode(errors='surrogatepass')):08x}"
