"""Records on disk, one in each line, appended when they are made, so that a crash loses no finished record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read(path: Path, build: Callable[[dict[str, Any]], T], thing: str) -> list[T]:
    """The records of a file; [] if the file does not exist. An incomplete last line is left out.

    Args:
        build: makes a record from the parsed JSON; it raises ValueError, TypeError or KeyError if it is not one.
        thing: name of a record in error messages.

    Raises:
        ValueError: another line is not a record; the message names it.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # the text after the last line break is "" or incomplete
        try:
            records.append(build(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            # After a crash the file system may have kept the line break without all of the text before it.
            if number == len(lines) - 1:
                break
            raise ValueError(f"{path}, line {number}: not a {thing} ({error}); remove the line to go on") from error
    return records


def replace(path: Path, lines: Iterable[str]) -> None:
    """Replace a file atomically: after a crash it has either the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    with new.open("w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
