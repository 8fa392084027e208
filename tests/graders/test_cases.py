"""Cases of right and wrong responses by file, the command that checks such files, and ground truths of other shapes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import SHARED
from verl_gpo.graders import compute_score
from verl_gpo.graders.__main__ import main
from verl_gpo.graders.gold import BadGroundTruth, alternatives, mathematical, option

CASES = Path(__file__).with_name("cases.jsonl")
REPORTED = SHARED / "cases" / "graders.jsonl"
CASE = {"data_source": "math_dapo", "ground_truth": "7", "response": r"\boxed{7}", "expected": 1}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", lines(CASES), ids=lambda case: f"{case['ground_truth']} <- {case['response'][-40:]}")
def test_cases(case):
    graded = compute_score(case["data_source"], case["response"], case["ground_truth"], case.get("extra_info"))
    assert graded["acc"] == case["expected"], graded


@pytest.mark.skipif(not REPORTED.is_file(), reason="the reported cases are not here")
def test_reported_cases(capsys):
    assert main([str(REPORTED)]) == 0, capsys.readouterr().out


def test_the_command_names_each_disagreement(tmp_path, capsys):
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{json.dumps(CASE)}\n\n{json.dumps({**CASE, 'response': 'Answer: 8'})}\n")
    assert main([str(path), str(CASES)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{path}:3: math_dapo: expected 1, graded 0; ground truth '7', answer read '8'"
    assert said[1] == f"{path}: 1 of 2 cases as expected (math_dapo 1 of 2)"
    assert said[2].startswith(f"{CASES}: ") and len(said) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no cases"),
        ("{", ":1 is not JSON"),
        ("[1]", ":1 must be a JSON object with the keys data_source, ground_truth, response, expected"),
        (json.dumps({"data_source": "math_dapo"}), ":1 has no key 'ground_truth'"),
        (json.dumps(CASE) + "\n" + json.dumps({**CASE, "expected": "yes"}), ":2: expected='yes' must be 0 or 1"),
        (json.dumps({**CASE, "response": 7}), ":1: response=7 must be a text"),
        (json.dumps({**CASE, "extra_info": 7}), ":1: extra_info=7 must be an object"),
        (json.dumps({**CASE, "data_source": "mine"}), ":1: data_source='mine' has no grader: known are"),
        (json.dumps({**CASE, "ground_truth": ""}), ":1: data_source='math_dapo': ground_truth='' is empty"),
        (json.dumps({**CASE, "ground_truth": {"value": 7}}), "is a dict: allowed are a text, a number, or a list"),
    ],
)
def test_bad_files_get_one_line(text, message, tmp_path, capsys):
    path = tmp_path / "cases.jsonl"
    path.write_text(text)
    assert main([str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}") and message in said and said.count("\n") == 1


def test_a_missing_file_and_one_that_is_no_text(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("none", "No such file or directory"), ("binary", "it is not UTF-8 text")):
        call = [sys.executable, "-m", "verl_gpo.graders", str(tmp_path / name)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (2, f"error: {tmp_path / name} cannot be read: {reason}\n")


def test_ground_truths_of_other_shapes():
    assert alternatives(["18", 19, 20.0]) == alternatives('["18", "19", "20"]') == ("18", "19", "20")
    assert alternatives("[1, 2]") == ("[1, 2]",) and alternatives('["open') == ('["open',)
    assert alternatives(27.0) == ("27",) and alternatives(0.5) == ("0.5",)
    assert mathematical("So 7.\n#### 7") == mathematical(r"thus $\boxed{7}$") == mathematical("7") == "7"
    assert [option(gold) for gold in ("B", "(b)", "B.", "[B]", "Option B")] == ["B"] * 5
    assert option("helium", ["neon", "helium"]) == "B"


def test_list_columns_of_parquet_files():
    import numpy as np

    assert alternatives(np.array(["18", "19"], dtype=object)) == alternatives(np.array([18, 19])) == ("18", "19")
    assert alternatives(np.int64(7)) == ("7",)


@pytest.mark.parametrize("gold", ["", "  ", [], None, True, {"value": 1}, [["1"]], ["", "1"], "[]"[:0]])
def test_ground_truths_that_no_response_could_match_are_refused(gold):
    with pytest.raises(BadGroundTruth, match="data_source='math_dapo': ground_truth="):
        compute_score("math_dapo", r"\boxed{1}", gold)


def test_an_option_that_is_none_is_refused():
    for gold in ("1", "(B) and (C)", "helium"):
        with pytest.raises(BadGroundTruth, match="names no option: allowed are a letter, as B or"):
            compute_score("cais/mmlu", "Answer: (B)", gold)


def test_alternatives():
    gold = ["(10,0)", "(0,0)"]
    for response, right in (
        (r"\boxed{(0,0)}", 1),
        (r"\boxed{(10, 0)}", 1),
        (r"\boxed{(0,0)} \text{ and } \boxed{(10,0)}", 1),
        (r"\boxed{(0,0)} \text{ and } \boxed{(1,0)}", 0),
        (r"\boxed{(1,0)}", 0),
        (rf"\boxed{{{json.dumps(gold)}}}", 1),  # the ground truth to the letter
    ):
        for form in (gold, json.dumps(gold)):
            assert compute_score("math_dapo", response, form)["acc"] == right, (response, form)
    assert compute_score("reasoning_gym/x", '<answer>["a"]</answer>', '["a"]')["acc"] == 1.0
