"""Rows in verl's schema that cannot be used, and what each command says of them."""

import pyarrow as pa
import pyarrow.parquet as pq

GOOD = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "1+1?"}],
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 0},
}

#: Column, its value in all rows, and the end of the line that names it.
BAD = [
    ("reward_model", None, "row 0, column reward_model: must be an object with ground_truth, and is null"),
    (
        "reward_model",
        '{"ground_truth": "2"}',
        "row 0, column reward_model: must be an object with ground_truth, and is",
    ),
    ("reward_model", {"style": "rule"}, "row 0, column reward_model: must be an object with ground_truth, and is"),
    ("reward_model", {"ground_truth": None}, "row 0, column reward_model: ground_truth must be an answer, and is null"),
    ("reward_model", {"ground_truth": float("nan")}, "row 0, column reward_model: ground_truth must be an answer"),
    ("prompt", "1+1?", "row 0, column prompt: must be a list of messages with role and content, and is '1+1?'"),
    ("prompt", None, "row 0, column prompt: must be a list of messages with role and content, and is null"),
    ("prompt", [], "row 0, column prompt: must be a list of messages with role and content, and is []"),
    ("prompt", [{"role": "user"}], "row 0, column prompt: message 0: content must be text, and is null"),
    ("prompt", [{"content": "1+1?"}], "row 0, column prompt: message 0: role must be text, and is null"),
    ("prompt", [{"role": "user", "content": ["a"]}], "row 0, column prompt: message 0: content must be text, and is"),
    ("prompt", ["1+1?"], "row 0, column prompt: message 0: role must be text, and is null"),
    ("data_source", None, "row 0, column data_source: must be text, and is null"),
    ("data_source", 5, "row 0, column data_source: must be text, and is 5"),
    ("extra_info", "{}", "row 0, column extra_info: must be an object or null, and is '{}'"),
]


def write(path, *rows):
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def write_bad(path, column, value):
    return write(path, {**GOOD, column: value})
