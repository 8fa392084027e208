"""Rows of parquet tables, and texts that are no UTF-8."""

import pytest

pa = pytest.importorskip("pyarrow")

from verl_gpo.data.parquet import to_rows  # noqa: E402


def test_rows_as_dictionaries():
    table = pa.table({"a": ["x", None], "b": [[1], []]})
    assert to_rows(table, "f") == [{"a": "x", "b": [1]}, {"a": None, "b": []}]
    assert to_rows(table.to_batches()[0], "f") == to_rows(table, "f")


def test_a_text_that_is_no_utf8_is_named_with_its_row_in_the_file():
    column = pa.array([b"fine", b"caf\xe9"]).cast(pa.binary()).view(pa.string())
    table = pa.table({"a": ["x", "y"], "b": column})
    with pytest.raises(ValueError, match=r"^f\.parquet, row 101, column b: must be UTF-8 text \(.* at byte 3\)$"):
        to_rows(table, "f.parquet", first=100)
