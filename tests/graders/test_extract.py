"""Where the answer is in a response, and which words around it are not part of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.graders.extract import LONGEST, TAIL, core, final_answer, last_line

PHRASES = [
    ("The answer is: 58", "58"),
    ("The answer is : $58$.", "$58$"),
    ("The answer is:\n\n58", "58"),
    ("The answer is:\n\\[\n58\n\\]", "58"),
    ("The answer is:\n$$\n58\n$$", "58"),
    ("**Answer:** 58", "58"),
    ("**Answer: 58**", "58"),
    ("**Final Answer**\n\n58", "58"),
    ("Answer：58", "58"),
    ("Answer - 58", "58"),
    ("ANSWER = 58", "58"),
    ("> Answer: **58** plums", "58 plums"),
    ("#### Answer: 58", "58"),
    ("Final Answer: The final answer is 58. I hope it is correct.", "58"),
    ("The correct option would be (B).", "(B)"),
    ("The answer to this question is 58.", "58"),
    ("The answer (in metres) is 58.", "58"),
    ("The answer, therefore, is 58.", "58"),
    ("The answer is therefore equal to 58.", "58"),
    ("The answer is 5.8. That is all.", "5.8"),
    ("The answer is 9 a.m. on Monday.", "9 a.m. on Monday"),
    ("Answer:\n```\nfig plum\n```", "fig plum"),
    ("Answer: `] )`", "] )"),
    ('The answer is "58".', "58"),
    ("The answer is 58.<|im_end|>", "58"),
]


@pytest.mark.parametrize(("response", "answer"), PHRASES)
def test_phrases(response, answer):
    assert final_answer(response) == answer


def test_lists_on_several_lines_are_one_answer():
    assert final_answer("Answer:\n- fig\n- plum\n").split() == ["-", "fig", "-", "plum"]
    assert final_answer("Answer: 1. fig\n2. plum") == "1. fig\n2. plum"
    assert final_answer("Answer:\nfig\nplum") == "fig\nplum"
    assert final_answer("Answer: 58\n- since 50 + 8") == "58"


#: The last of several places counts; what is no answer yet does not.
LATER = [
    ("Answer: Let's think step by step. 50 + 8 = 58.\nThe answer is 58.", "58"),
    ("Answer: Let's think. So the answer is 58.", "58"),
    ("Answer: We need to add 50 and 8 first.\n\\boxed{58}", "58"),
    ("Answer: 57\nWait.\nAnswer: 58", "58"),
    ("The answer is 57. No, the answer is 58.", "58"),
    ("Answer: 58\nI am sure that the answer is right.", "58"),
    ("The answer is 58. The answer is the sum of 50 and 8.", "58"),
    (r"\boxed{57}" + "\nFinal Answer: The final answer is $58$. I hope it is correct.", "$58$"),
    (r"The answer is 57, or rather \boxed{58}", "58"),
    (r"\boxed{58}. The answer is 57 in other books.", "58"),
    (r"\boxed{58}" + "\nThe final answer is correct.", "58"),
    ("The answer is not known.", "not known"),
    ("I count 58.", ""),
]


@pytest.mark.parametrize(("response", "answer"), LATER)
def test_the_last_answer_counts(response, answer):
    assert final_answer(response) == answer


CORES = [
    ("The value is 58", "58"),
    ("The total number of ways is therefore 58", "58"),
    ("x is equal to 58", "58"),
    ("58, because 50 + 8", "58"),
    ("58 (since 50 + 8)", "58"),
    ("58, as desired", "58"),
    ("58; this follows from above", "58"),
    ("(B), since May", "(B)"),
    ("(B) and (C)", "(B) and (C)"),
    ("The argument is valid", "valid"),
    ("The argument is not valid", "The argument is"),
    ("B is the one", "B is the one"),
    ("5 is less than 6", "5 is less than 6"),
    ("because", "because"),
    ("", ""),
]


@pytest.mark.parametrize(("answer", "rest"), CORES)
def test_core(answer, rest):
    assert core(answer) == rest


@given(st.text(alphabet="answer is:=*\n# 58.$\\[]()`-Ttheof,", max_size=200))
def test_any_text_gives_a_part_of_it(text):
    answer = final_answer(text)
    assert len(answer) <= LONGEST and len(core(answer)) <= len(answer)
    assert set(answer) <= set(text) and set(last_line(text)) <= set(text)


def test_long_texts_are_read_in_time():
    """The end only, and without backtracking: each of these takes well below a second."""
    for piece in ("answer ", "Answer:\n", "the answer is not ", "1. a\n", "**", "(since ", "is 5 ", "- a\n", "```\n"):
        final_answer(piece * (2 * TAIL // len(piece)))
        core(piece * (LONGEST // len(piece)))
