"""BIG-Bench Hard: the form of an answer by task or by its looks, and each form's comparison."""

import pytest

from verl_gpo.data.registry import BBH_TASKS
from verl_gpo.graders.bbh import form_of, grade

OPTIONS = "Which one?\nOptions:\n(A) red\n(B) blue"


@pytest.mark.parametrize(
    ("gold", "form"),
    [("(A)", "letter"), ("Yes", "word"), ("invalid", "word"), ("-3", "number"), ("] ) >", "brackets"), ("ash", "list")],
)
def test_without_a_task_the_form_is_told_from_the_ground_truth(gold, form):
    assert form_of("", gold) == form


def test_the_tasks_form_wins_and_a_letter_task_without_a_letter_is_text():
    letters = next(task for task, form in BBH_TASKS.items() if form == "letter")
    assert form_of(letters, "(A)") == "letter" and form_of(letters, "heptagon") == "text"
    assert form_of("word_sorting", "(A)") == BBH_TASKS["word_sorting"] == "list"


@pytest.mark.parametrize(
    ("response", "gold", "question", "right", "pred"),
    [
        ("Answer: (B)", "(B)", OPTIONS, True, "(B)"),
        ("Answer: blue", "(B)", OPTIONS, True, "(B)"),
        ("Answer: red", "(B)", OPTIONS, False, "(A)"),
        ("Answer: Yes, she does", "Yes", "", True, "yes"),
        ("Answer: not valid", "valid", "", False, ""),
        ("Answer: not False = True", "True", "", True, "true"),
        ("Answer: 24", "24", "", True, "24"),
        ("Answer: 25", "24", "", False, "25"),
        ("Answer: ash, bee and cat", "ash bee cat", "", True, "ash bee cat"),
        ("Answer: bee, ash, cat", "ash bee cat", "", False, "bee ash cat"),
        ("Answer: ]]", "] ]", "Input: [ [", True, "] ]"),
        ("Answer: [[]]", "] ]", "Input: [ [", True, "[ [ ] ]"),  # the whole sequence
        ("Answer: ]", "] ]", "Input: [ [", False, "]"),
    ],
)
def test_grades_by_form(response, gold, question, right, pred):
    assert grade(response, (gold,), {"question": question}) == (float(right), float(right), pred)


def test_of_alternatives_one_is_enough():
    assert grade("Answer: 24", ("23", "24"), {}).acc == 1.0
