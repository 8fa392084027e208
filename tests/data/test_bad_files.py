"""Files that are not as published: one line that names file, row and column, exit status 1, and nothing written."""

import json
import shutil

import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from tests.benchmarks import SAMPLES, rows  # noqa: E402
from verl_gpo.data import load  # noqa: E402
from verl_gpo.data.prepare import main  # noqa: E402
from verl_gpo.data.registry import DATASETS  # noqa: E402

GSM8K = {"question": "1+1?", "answer": "It is 2.\n#### 2"}
AIME = {"problem": "1+1?", "answer": "2"}
MATH500 = {"problem": "1+1?", "answer": "2", "solution": "2", "subject": "Algebra", "level": 1, "unique_id": "a/1"}
MMLU = {"question": "1+1?", "subject": "algebra", "choices": ["1", "2"], "answer": 1}
PRO = {"question_id": 7, "question": "1+1?", "options": ["1", "2"], "answer": "B", "cot_content": "", "category": "m"}
PRO |= {"src": "x"}
DAPO = {"prompt": [{"role": "user", "content": "1+1?"}], "reward_model": {"ground_truth": "2"}, "extra_info": {}}
NAN = float("nan")

#: Data set, a good row, what is changed in the second one (None removes the column), and the end of the line.
CASES = [
    ("aime24", AIME, {"answer": ...}, "column answer: is missing; the columns found are problem"),
    ("aime24", AIME, {"answer": None}, "column answer: must be text or a finite number, and is null"),
    ("aime24", AIME, {"answer": NAN}, "column answer: must be text or a finite number, and is nan"),
    ("aime24", AIME, {"answer": float("inf")}, "column answer: must be text or a finite number, and is inf"),
    ("aime24", AIME, {"answer": ["2"]}, "column answer: must be text or a finite number, and is ['2']"),
    ("aime24", AIME, {"answer": {"a": 2}}, "column answer: must be text or a finite number, and is {'a': 2}"),
    ("aime24", AIME, {"answer": True}, "column answer: must be text or a finite number, and is True"),
    ("aime24", AIME, {"problem": None}, "column problem: must be text, and is null"),
    ("aime24", AIME, {"problem": 5}, "column problem: must be text, and is 5"),
    ("aime24", AIME, {"problem": " "}, "column problem: must be text, and is empty"),
    ("aime24", AIME, {"problem": "a\ud800"}, "column problem: must be UTF-8 text; character 1 is half a"),
    ("aime24", AIME, {"answer": "\udfff"}, "column answer: must be UTF-8 text; character 0 is half a surrogate pair"),
    ("aime24", AIME, {"solution": ["s"]}, "column solution: must be text, and is ['s']"),
    ("gsm8k", GSM8K, {"answer": ...}, "column answer: is missing; the columns found are question"),
    ("gsm8k", GSM8K, {"answer": "It is 2."}, "column answer: must end in '#### ' and the final answer"),
    ("gsm8k", GSM8K, {"answer": NAN}, "column answer: must be text, and is nan"),
    ("math500", MATH500, {"subject": ...}, "column subject: is missing; the columns found are problem, answer"),
    ("math500", MATH500, {"subject": None}, "column subject: must be text, and is null"),
    ("math500", MATH500, {"level": None}, "column level: must be text or a finite number, and is null"),
    ("mmlu", MMLU, {"subject": ...}, "column subject: is missing"),
    ("mmlu_stem", MMLU, {"subject": ...}, "column subject: is missing"),
    ("mmlu_stem", MMLU, {"subject": None}, "column subject: must be text, and is null"),
    ("mmlu", MMLU, {"answer": ...}, "column answer: is missing; the columns found are question, subject, choices"),
    ("mmlu", MMLU, {"answer": -1}, "column answer: must be an integer from 0 to 1, and is -1"),
    ("mmlu", MMLU, {"answer": NAN}, "column answer: must be an integer from 0 to 1, and is nan"),
    ("mmlu", MMLU, {"choices": None}, "column choices: must be a list of 2 to 26 texts, and is null"),
    ("mmlu", MMLU, {"choices": ["1", None]}, "column choices: must be a list of texts, and option 1 is null"),
    ("mmlu", MMLU, {"choices": ["1", "\ud800"]}, "column choices: option 1: must be UTF-8 text"),
    ("mmlu_pro", PRO, {"answer": "C"}, "column answer: must be a letter from A to B, and is 'C'"),
    ("mmlu_pro", PRO, {"answer": ["B"]}, "column answer: must be text or a finite number, and is ['B']"),
    ("mmlu_pro", PRO, {"category": None}, "column category: must be text, and is null"),
    ("dapo_math_17k", DAPO, {"prompt": "1+1?"}, "column prompt: must be a list of messages, and is '1+1?'"),
    ("dapo_math_17k", DAPO, {"prompt": None}, "column prompt: must be a list of messages, and is null"),
    ("dapo_math_17k", DAPO, {"prompt": [{"role": "user"}]}, "column prompt[0].content: must be text, and is null"),
    ("dapo_math_17k", DAPO, {"reward_model": None}, "column reward_model: must be an object with ground_truth"),
    ("dapo_math_17k", DAPO, {"reward_model": "{}"}, "column reward_model: must be an object with ground_truth"),
    ("dapo_math_17k", DAPO, {"reward_model": {}}, "column reward_model.ground_truth: must be text or a finite number"),
]  # fmt: skip


def changed(row, change):
    merged = {**row, **change}
    return {column: value for column, value in merged.items() if value is not ...}


def refused(capsys, name, path, out, *options):
    """The one line that the command line ends in; it has written nothing."""
    command = ["--dataset", name, "--out", str(out), "--local-path", str(path), "--holdout", "none", "--allow-partial"]
    split = "test" if "test" in DATASETS[name].splits else "train"
    assert main([*command, "--split", split, *options]) == 1
    said = capsys.readouterr()
    assert not out.exists() and said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(("name", "row", "change", "said"), CASES)
def test_a_cell_that_cannot_be_used_is_named(name, row, change, said, tmp_path, capsys):
    if name == "mmlu_stem":
        row = {**row, "subject": "astronomy"}
    path = tmp_path / f"{name}.jsonl"
    path.write_text(f"{json.dumps(row)}\n\n{json.dumps(changed(row, change))}\n")
    # The blank line is no row: the second row is row 1, on line 3.
    assert f"{path}, row 1 (line 3), {said}" in refused(capsys, name, path, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"problem": "caf\xe9", "answer": "2"}\n', "row 0 (line 1), column problem: must be UTF-8 text; character 3"),
        (b'{"problem": "1+1?", "answer": "\xff2"}\n', "row 0 (line 1), column answer: must be UTF-8 text"),
        (b"5\n", "row 0 (line 1): is 5; must be an object with the data set's columns"),
        (b"null\n", "row 0 (line 1): is null; must be an object"),
        (b'["a"]\n', "row 0 (line 1): is ['a']; must be an object"),
        (b"", "the copy has no rows"),
        (b'{"problem": "1+1?", "solution": "two"}\n', "not one of 1 rows holds an answer"),
        (b'{"problem": "1+1?", "answer": ""}\n', "not one of 1 rows holds an answer"),
        (b"\x1f\x8b\x08\x00", "aime24.jsonl:1 is not JSON"),
        (b"[" * 100_000, "aime24.jsonl:1 is not JSON"),
        (b'{"answer": ' + b"1" * 5000 + b"}", "aime24.jsonl:1 is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content, said, tmp_path, capsys):
    path = tmp_path / "aime24.jsonl"
    path.write_bytes(content)
    assert said in refused(capsys, "aime24", path, tmp_path / "out")


def test_a_file_without_an_answer_in_any_row_names_its_columns(tmp_path, capsys):
    path = tmp_path / "aime24.jsonl"
    path.write_text(json.dumps({"problem": "1+1?", "solution": "two"}) + "\n")
    assert "the columns found are problem, solution" in refused(capsys, "aime24", path, tmp_path / "out")


@pytest.mark.parametrize("content", ["{}", "5", '"x"', '{"examples": 5}', "[5]"])
def test_json_without_rows_is_named(content, tmp_path, capsys):
    path = tmp_path / "aime24.json"
    path.write_text(content)
    assert str(path) in refused(capsys, "aime24", path, tmp_path / "out")


def test_text_in_parquet_that_is_no_utf8_is_named(tmp_path, capsys):
    path = tmp_path / "aime24.parquet"
    column = pa.array([b"fine", b"caf\xe9"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"problem": column, "answer": pa.array(["1", "2"])}), path)
    assert f"{path}, row 1, column problem: must be UTF-8 text" in refused(capsys, "aime24", path, tmp_path / "out")


def test_an_evaluation_set_that_is_checked_against_is_read_as_strictly(tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "aime24.jsonl").write_text(json.dumps({"problem": "x", "answer": None}) + "\n")
    command = ["--dataset", "gsm8k", "--local-path", str(SAMPLES), "--out", str(tmp_path / "out"), "--allow-partial"]
    assert main([*command, "--holdout", f"aime24={tmp_path / 'bad'}"]) == 1
    assert "aime24.jsonl, row 0 (line 1), column answer: must be text" in capsys.readouterr().err


def test_openais_own_folder_of_gsm8k_is_read_right(tmp_path):
    folder = tmp_path / "grade-school-math" / "grade_school_math" / "data"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        shutil.copy(SAMPLES / f"gsm8k_{split}.jsonl", folder / f"{split}.jsonl")
        (folder / f"{split}_socratic.jsonl").write_text(json.dumps({"question": "Why?", "answer": "So. #### 9"}) + "\n")
    (folder / "example_model_solutions.jsonl").write_text(json.dumps({"question": "Q", "ground_truth": "1"}) + "\n")
    for path in (folder, folder.parent.parent):
        for split in ("train", "test"):
            expected = list(rows(DATASETS["gsm8k"], split, SAMPLES))
            assert list(rows(DATASETS["gsm8k"], split, path)) == expected


def test_a_folder_that_has_only_another_configuration_is_not_read(tmp_path):
    (tmp_path / "socratic").mkdir()
    shutil.copy(SAMPLES / "gsm8k_test.jsonl", tmp_path / "socratic" / "test-00000-of-00001.jsonl")
    with pytest.raises(load.LoadError, match="holds no split 'test' of gsm8k"):
        list(rows(DATASETS["gsm8k"], "test", tmp_path))


def test_files_that_only_begin_with_the_splits_name_are_left_where_the_split_has_its_own(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps(AIME) + "\n")
    (tmp_path / "test_hard.jsonl").write_text(json.dumps({**AIME, "answer": "3"}) + "\n")
    assert [row["answer"] for row in rows(DATASETS["aime25"], "test", tmp_path)] == ["2"]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(AIME) + "\n", encoding="utf-8-sig")
    assert list(rows(DATASETS["aime25"], "test", path)) == [AIME]
