"""How rows of published data sets become question and answer, and the tables that are made of the entries."""

import pytest

from verl_gpo.data.columns import ColumnError
from verl_gpo.data.registry import BBH_TASKS, DATASETS, GRADER_OF, HOLDOUTS, Example, options, reference_table


def test_a_row_of_gsm8k():
    read = DATASETS["gsm8k"].read
    example = read({"question": "1+1?", "answer": "It is 2.\n#### 1,002"})
    assert (example.question, example.answer) == ("1+1?", "1002") and example.reference == "It is 2.\n#### 1,002"
    with pytest.raises(ColumnError, match="column answer: must end in '#### '"):
        read({"question": "1+1?", "answer": "It is 2."})


def test_a_row_of_mmlu_is_a_question_with_lettered_options():
    example = DATASETS["mmlu"].read({"question": "Which?", "subject": "algebra", "choices": ["x", "y"], "answer": 1})
    assert (example.question, example.answer) == ("Which?\nA. x\nB. y", "B")
    assert example.question == options("Which?", ["x", "y"]) and example.task == "algebra"
    assert example.metadata["choices"] == ["x", "y"]


def test_a_row_without_an_answer_is_none():
    assert DATASETS["aime24"].read({"problem": "1+1?", "answer": ""}) is None
    assert DATASETS["aime24"].read({"problem": "1+1?", "answer": 27.0}).answer == "27"


def test_training_sets_are_checked_against_the_mathematical_evaluation_sets():
    assert {"gsm8k", "math500", "aime24", "aime25"} <= set(HOLDOUTS) and not {"mmlu", "bbh"} & set(HOLDOUTS)
    assert all("test" in DATASETS[name].splits for name in HOLDOUTS)


def test_entries_by_their_names_and_sources():
    assert all(entry.name == name for name, entry in DATASETS.items())
    assert GRADER_OF["lukaemon/bbh"] == GRADER_OF["SaylorTwift/bbh"] == "bbh" and len(BBH_TASKS) == 27
    assert set(BBH_TASKS.values()) <= {"word", "letter", "number", "list", "brackets", "text"}


def test_the_table_has_a_line_for_each_entry():
    lines = reference_table().splitlines()
    assert len(lines) == 2 + len(DATASETS) + 1
    (line,) = [line for line in lines if line.startswith("| `gsm8k` |")]
    assert line == "| `gsm8k` | `openai/gsm8k` (`main`) | 7,473 train, 1,319 test | `gsm8k` | math |"


def test_an_example_has_only_what_it_needs():
    assert Example("q", "a") == ("q", "a", "", "", {})
