"""Rows of parquet tables, which may hold bytes that are not UTF-8."""

from __future__ import annotations

from typing import Any


def to_rows(table: Any, where: str, first: int = 0) -> list[dict[str, Any]]:
    """The rows of a ``pyarrow.Table`` or ``RecordBatch`` as dictionaries.

    Args:
        where: the file, for the message.
        first: number of the table's first row in its file.

    Raises:
        ValueError: a text is not UTF-8; the message names file, row and column.
    """
    try:
        return table.to_pylist()
    except UnicodeDecodeError:
        for name in table.schema.names:
            for number, value in enumerate(table.column(name)):
                try:
                    value.as_py()
                except UnicodeDecodeError as error:
                    raise ValueError(
                        f"{where}, row {first + number}, column {name}: must be UTF-8 text ({error.reason} at byte "
                        f"{error.start})"
                    ) from error
        raise
