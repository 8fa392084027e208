"""Each row of a data file has a prompt; the rows that have none are named before anything starts."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_gpo.config import ConfigError
from verl_gpo.plugin.checks import rows as checked
from verl_gpo.plugin.checks.rows import check_prompts

GOOD = [{"role": "user", "content": "1 + 1"}]


def write(folder, prompts, kind=None):
    file = folder / "rows.parquet"
    pq.write_table(pa.table({"prompt": pa.array(prompts, kind)}), file)
    return file


def refused(file):
    with pytest.raises(ConfigError) as error:
        check_prompts("data.train_files", "rows.parquet", file, "prompt")
    assert "\n" not in str(error.value)
    return str(error.value)


WHAT = "a text, or a list of messages with role and content"
MESSAGES = f"must have {WHAT} in column prompt of each row; it has none in row"


@pytest.mark.parametrize(
    "bad",
    [None, [], [None], [{"role": "user", "content": None}], [*GOOD, {"role": None, "content": "x"}]],
)
def test_rows_without_a_prompt_are_named(tmp_path, bad, monkeypatch):
    monkeypatch.setattr(checked, "_ROWS", 4)  # the numbers go on over several parts of the file
    prompts = [GOOD] * 10
    prompts[5] = prompts[8] = bad
    assert refused(write(tmp_path, prompts)) == f"data.train_files='rows.parquet': {MESSAGES} 5, 8"


def test_many_rows_are_counted(tmp_path):
    assert refused(write(tmp_path, [None] * 7 + [GOOD])).endswith("in row 0, 1, 2, 3, 4 and 2 more")


def test_prompts_may_be_texts_and_of_several_turns(tmp_path):
    for prompts in ([GOOD, [*GOOD, *GOOD]], ["1 + 1", "2 + 2"]):
        check_prompts("data.train_files", "rows.parquet", write(tmp_path, prompts), "prompt")
    assert refused(write(tmp_path, ["x", None])).endswith("in row 1")


def test_messages_of_another_form_are_refused(tmp_path):
    assert refused(write(tmp_path, [[{"text": "x"}], [{"text": "y"}]])).endswith("in row 0, 1")


def test_a_file_that_is_damaged_in_the_middle_is_named(tmp_path):
    file = write(tmp_path, [f"prompt {number} {number**5}" for number in range(5000)])
    data = bytearray(file.read_bytes())
    data[2000:6000] = b"\x00" * 4000
    file.write_bytes(data)
    assert "cannot be read behind row" in refused(file)
