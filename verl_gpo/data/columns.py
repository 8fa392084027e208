"""The cells of a published row, checked: each function reads a column by its name, or says in one line what is
wrong."""

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
    """A cell that is missing or cannot be used. The message names the column and what is wrong with it."""

    def __init__(self, column: str, said: str):
        super().__init__(f"column {column}: {said}")


def shown(value: Any) -> str:
    """A value as it appears in a message: in ASCII, short, and on one line."""
    return "null" if value is None else _ascii(_SHOWN.repr(value))


def names(row: Row) -> str:
    """The columns of a row, for a message."""
    return ", ".join(_ascii(str(column).encode("unicode_escape").decode()) for column in row) or "none"


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def encodable(text: str) -> str | None:
    """The reason why a text cannot be written as UTF-8; None if it can.

    JSON can hold half of a surrogate pair, and `load` reads a byte that is not UTF-8 as such a half.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"must be UTF-8 text; character {error.start} is half a surrogate pair, or a byte that is no UTF-8"
    return None


def cell(row: Row, column: str) -> Any:
    """The value of a column.

    Raises:
        ColumnError: there is no such column; the message names the columns that the row has.
    """
    if column not in row:
        raise ColumnError(column, f"is missing; the columns found are {names(row)}")
    return row[column]


def text(row: Row, column: str, empty: bool = False) -> str:
    """A text. With ``empty`` it may be blank.

    Raises:
        ColumnError: the column is missing, or holds no text, a blank one, or one that is not UTF-8.
    """
    value = cell(row, column)
    if not isinstance(value, str):
        raise ColumnError(column, f"must be text, and is {shown(value)}")
    problem = encodable(value) or (None if empty or value.strip() else "must be text, and is empty")
    if problem:
        raise ColumnError(column, problem)
    return value


def optional_text(row: Row, column: str) -> str:
    """A text, or "" if the column is missing, null or empty.

    Raises:
        ColumnError: it holds something else than text, or text that is not UTF-8.
    """
    return "" if row.get(column) is None else text(row, column, empty=True)


def label(row: Row, column: str) -> str:
    """A text or a number that names something, such as a level or an index, as text.

    Raises:
        ColumnError: the column is missing, or holds neither a text nor a finite number.
    """
    return text(row, column) if isinstance(cell(row, column), str) else answer(row, column)


def optional_label(row: Row, column: str) -> str:
    """A label, or "" if the column is missing or null.

    Raises:
        ColumnError: it holds neither a text nor a finite number.
    """
    return "" if row.get(column) is None else label(row, column)


def first_of(row: Row, *columns: str) -> str:
    """The first of these columns that the row has. If it has none, the first one, so that the error names that."""
    return next((column for column in columns if column in row), columns[0])


def answer(row: Row, column: str) -> str:
    """A final answer as text, "" for a blank one. Numbers are accepted, and 27.0 becomes "27".

    Raises:
        ColumnError: the column is missing, or holds neither a text nor a finite number.
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
        ColumnError: the column is missing, or holds no list of two to ``most`` texts.
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
    """The number of an option, counted from 0.

    Raises:
        ColumnError: the column is missing, or holds no integer from 0 to ``count - 1``.
    """
    value = cell(row, column)
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ColumnError(column, f"must be an integer from 0 to {count - 1}, and is {shown(value)}")
    return value
