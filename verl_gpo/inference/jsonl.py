"""Records on disk, one a line, appended as they are made: what was written before a crash is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read(path: Path, build: Callable[[dict[str, Any]], T], thing: str) -> list[T]:
    """Records of a file, none if it is not there. A last line that was cut off is left out.

    Args:
        build: makes a record from what JSON holds; a ValueError, TypeError or KeyError says that it is none.
        thing: what a record is called.

    Raises:
        ValueError: another line is no record; the message names it.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line break is "" or cut off
        try:
            records.append(build(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            # A file system may have written the line break, and not all before it.
            if number == len(lines) - 1:
                break
            raise ValueError(f"{path}, line {number}: not a {thing} ({error}); remove the line to go on") from error
    return records


def replace(path: Path, lines: Iterable[str]) -> None:
    """Write a file at once: it is the old one or the new one whenever the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    with new.open("w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
