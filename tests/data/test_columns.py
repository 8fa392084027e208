"""Cells of a published row: what is read, and the line that says what is wrong."""

from decimal import Decimal

import pytest

from verl_gpo.data.columns import (
    ColumnError,
    answer,
    choices,
    encodable,
    first_of,
    label,
    names,
    optional_label,
    optional_text,
    position,
    shown,
    text,
)


def test_cells_by_hand():
    assert [answer({"a": value}, "a") for value in (" 2 ", 2, 27.0, 2.5, "")] == ["2", "2", "27", "2.5", ""]
    assert [position({"a": value}, "a", 4) for value in (0, 3, "2")] == [0, 3, 2]
    assert text({"a": "é"}, "a") == "é"
    with pytest.raises(ColumnError, match="column a: is missing; the columns found are none"):
        text({}, "a")


def test_a_cell_that_may_be_missing():
    assert optional_text({}, "a") == optional_text({"a": None}, "a") == optional_text({"a": ""}, "a") == ""
    assert optional_label({"a": None}, "a") == "" and optional_label({"a": 3}, "a") == "3"
    assert label({"a": "x"}, "a") == "x" and label({"a": Decimal("2.50")}, "a") == "2.50"


def test_the_first_column_that_is_there():
    assert first_of({"b": 1, "c": 2}, "a", "b", "c") == "b" and first_of({}, "a", "b") == "a"


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (lambda row: text(row, "a"), " ", "column a: must be text, and is empty"),
        (lambda row: text(row, "a"), 5, "column a: must be text, and is 5"),
        (lambda row: text(row, "a"), "x\ud800", "column a: must be UTF-8 text; character 1 is half"),
        (lambda row: answer(row, "a"), float("inf"), "column a: must be text or a finite number, and is inf"),
        (lambda row: answer(row, "a"), True, "column a: must be text or a finite number, and is True"),
        (lambda row: choices(row, "a", 4), ["x"], "column a: must be a list of 2 to 4 texts"),
        (lambda row: choices(row, "a", 4), ["x", 2], "column a: must be a list of texts, and option 1 is 2"),
        (lambda row: position(row, "a", 3), 3, "column a: must be an integer from 0 to 2, and is 3"),
        (lambda row: position(row, "a", 3), False, "column a: must be an integer from 0 to 2, and is False"),
    ],
)
def test_what_is_wrong_is_one_line(read, value, said):
    with pytest.raises(ColumnError) as error:
        read({"a": value})
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_values_in_messages_are_short_and_ascii():
    assert shown(None) == "null" and shown("é\n") == "'\\xe9\\n'" and len(shown("x" * 1000)) <= 70
    assert names({"a": 1, "é": 2}) == "a, \\xe9" and names({}) == "none"
    assert encodable("é") is None and "character 0" in encodable("\udfff")
