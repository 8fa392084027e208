"""Records that are appended a line at a time: what a crash leaves is read, and a damaged line is named."""

import os

import pytest

from verl_gpo.inference import jsonl


def number(record):
    return int(record["n"])


def read(tmp_path, content):
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    return jsonl.read(path, number, "record")


def test_records_in_order_and_none_without_a_file(tmp_path):
    assert read(tmp_path, b'{"n": 1}\n{"n": 2}\n') == [1, 2]
    assert read(tmp_path, b"") == [] == jsonl.read(tmp_path / "gone.jsonl", number, "record")


@pytest.mark.parametrize("cut", [b'{"n": 3}', b'{"n": ', b'{"n": 3\n', b"\x00\x00\n", b'{"m": 3}\n', b"5\n"])
def test_a_last_line_that_was_cut_off_is_left_out(tmp_path, cut):
    # A whole record without its line break may have been meant to go on, so it is left out as well.
    assert read(tmp_path, b'{"n": 1}\n{"n": 2}\n' + cut) == [1, 2]


@pytest.mark.parametrize(
    ("bad", "said"), [(b"half", "Expecting value"), (b'{"m": 1}', "'n'"), (b'{"n": "x"}', "invalid literal"), (b"", "")]
)
def test_another_line_that_is_no_record_is_named(tmp_path, bad, said):
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2: not a record \(") as error:
        read(tmp_path, b'{"n": 1}\n' + bad + b'\n{"n": 3}\n')
    assert said in str(error.value) and "remove the line to go on" in str(error.value)


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    jsonl.replace(path, ['{"n": 1}\n'])
    jsonl.replace(path, ['{"n": 2}\n', '{"n": 3}\n'])
    assert jsonl.read(path, number, "record") == [2, 3] and os.listdir(path.parent) == ["records.jsonl"]


def test_a_replacement_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "records.jsonl"
    jsonl.replace(path, ['{"n": 1}\n'])

    def lines():
        yield '{"n": 2}\n'
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        jsonl.replace(path, lines())
    assert jsonl.read(path, number, "record") == [1]
