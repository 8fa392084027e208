"""Cells of a published row, checked: each reader takes a column by name and says what is wrong with it in one line."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60


class ColumnError(ValueError):
    """A cell that is missing or cannot be used: the column, and what is wrong with it."""

    def __init__(self, column: str, said: str):
        super().__init__(f"column {column}: {said}")


def shown(value: Any) -> str:
    """A value in a message: ASCII, short, on one line."""
    return "null" if value is None else _ascii(_SHOWN.repr(value))


def names(row: Row) -> str:
    """The columns of a row, for a message."""
    return ", ".join(_ascii(str(column).encode("unicode_escape").decode()) for column in row) or "none"


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def encodable(text: str) -> str | None:
    """What keeps a text from being UTF-8; None for nothing.

    JSON can write half of a surrogate pair, and bytes that are no UTF-8 are read as halves as well.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"must be UTF-8 text; character {error.start} is half a surrogate pair, or a byte that is no UTF-8"
    return None


def cell(row: Row, column: str) -> Any:
    """The value of a column.

    Raises:
        ColumnError: there is no such column; the message names those that are there.
    """
    if column not in row:
        raise ColumnError(column, f"is missing; the columns found are {names(row)}")
    return row[column]


def text(row: Row, column: str, empty: bool = False) -> str:
    """A text; a blank one only where ``empty`` allows it.

    Raises:
        ColumnError: it is missing, no text, blank, or no UTF-8.
    """
    value = cell(row, column)
    if not isinstance(value, str):
        raise ColumnError(column, f"must be text, and is {shown(value)}")
    problem = encodable(value) or (None if empty or value.strip() else "must be text, and is empty")
    if problem:
        raise ColumnError(column, problem)
    return value


def optional_text(row: Row, column: str) -> str:
    """A text that may be missing, null or empty: then it is ""."""
    return "" if row.get(column) is None else text(row, column, empty=True)


def label(row: Row, column: str) -> str:
    """A text or a number that names something, as text."""
    return text(row, column) if isinstance(cell(row, column), str) else answer(row, column)


def optional_label(row: Row, column: str) -> str:
    """A label that may be missing or null: then it is ""."""
    return "" if row.get(column) is None else label(row, column)


def first_of(row: Row, *columns: str) -> str:
    """The first of these columns that the row has; the first of all where it has none, so that an error names it."""
    return next((column for column in columns if column in row), columns[0])


def answer(row: Row, column: str) -> str:
    """A final answer as text, "" for a blank one. Some are numbers, and 27.0 means 27.

    Raises:
        ColumnError: it is missing, null, or neither a text nor a finite number.
    """
    value = cell(row, column)
    if isinstance(value, str):
        return text(row, column, empty=True).strip()
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
        raise ColumnError(column, f"must be text or a finite number, and is {shown(value)}")
    return str(int(value)) if value == int(value) else str(value)


def choices(row: Row, column: str, most: int) -> list[str]:
    """The options of a question.

    Raises:
        ColumnError: no list of two to ``most`` texts.
    """
    value = cell(row, column)
    if not isinstance(value, list) or not 2 <= len(value) <= most:
        raise ColumnError(column, f"must be a list of 2 to {most} texts, and is {shown(value)}")
    for number, option in enumerate(value):
        if not isinstance(option, str):
            raise ColumnError(column, f"must be a list of texts, and option {number} is {shown(option)}")
        if problem := encodable(option):
            raise ColumnError(column, f"option {number}: {problem}")
    return value


def position(row: Row, column: str, count: int) -> int:
    """The number of an option, from 0.

    Raises:
        ColumnError: no integer from 0 to ``count - 1``.
    """
    value = cell(row, column)
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ColumnError(column, f"must be an integer from 0 to {count - 1}, and is {shown(value)}")
    return value
