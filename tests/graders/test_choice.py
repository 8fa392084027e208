"""The letter that a response commits to, from an answer and from a whole response."""

import pytest

from verl_gpo.graders.choice import grade, letter, normalise, read


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b) text", "B"),
        ("B.", "B"),
        (r"\text{(D)}", "D"),
        ("the correct answer is C", "C"),
        ("a cat", ""),  # the article
        ("A and B", ""),  # several
        ("(A), (C)", ""),
        ("", ""),
    ],
)
def test_the_letter_of_an_answer(answer, found):
    assert letter(answer) == found


def test_an_options_text_counts_as_its_letter_where_it_is_one_options():
    assert letter("the cat", ["a dog", "The cat"]) == "B"
    assert letter("the cat", ["The cat", "the cat."]) == ""  # which of the two?
    assert letter("E", ["x", "y"]) == ""  # there is no fifth


def test_of_a_response_the_final_answer_counts_and_not_what_was_thought():
    assert read("I think of (A) first.\nAnswer: (C)") == "C"
    assert normalise("The Cat, is_") == "the cat is"


def test_grades_by_letter_or_by_text():
    extra = {"metadata": {"choices": ["dog", "cat"]}}
    assert grade("Answer: (B)", ("B",), extra) == (1.0, 1.0, "B")
    assert grade("Answer: cat", ("(B)",), extra) == (1.0, 1.0, "B")
    assert grade("Answer: (A)", ("cat",), extra) == (0.0, 0.0, "A")
    assert grade("I do not know", ("A",), {"metadata": {}}) == (0.0, 0.0, "")
