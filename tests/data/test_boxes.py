"""Boxes in LaTeX, worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.data.boxes import LONGEST, MOST, Box, all_answers, boxes, closing, is_joint, last_answer


@pytest.mark.parametrize(
    ("text", "at"), [("{a{b}c}", 6), ("{a", -1), (r"{5\}", 2), (r"{\{1\}}", 6), ("{" + "a" * LONGEST + "}", -1)]
)
def test_where_a_brace_is_closed(text, at):
    assert closing(text, 0) == at


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{1} and \fbox{2}", [Box(0, 9, "1"), Box(14, 22, "2")]),
        (r"\boxed 5.", [Box(0, 9, "5")]),
        (r"\boxed{\boxed{3}}", [Box(0, 17, "3")]),
        (r"\boxed{{7}}", [Box(0, 11, "7")]),
        (r"\boxed{}", [Box(0, 8, "")]),
        ("no box", []),
    ],
)
def test_boxes_with_their_places(text, found):
    assert boxes(text) == found


def test_only_the_last_boxes_are_read():
    text = "".join(rf"\boxed{{{number}}} " for number in range(MOST + 4))
    assert [box.content for box in boxes(text)] == [str(number) for number in range(4, MOST + 4)]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"x=\boxed{1}, y=\boxed{2}", (15, "1,2")),
        (r"\boxed{1} so the sum is \boxed{2}", (24, "2")),
        (r"\boxed{1} and \boxed{1}", (14, "1")),
        (r"\boxed{1} \boxed{", (10, "")),  # cut off: the earlier one does not stand in for it
        ("none", (-1, "")),
    ],
)
def test_the_last_answer_and_what_is_joined_to_it(text, answer):
    assert last_answer(text) == answer


@pytest.mark.parametrize(
    ("between", "joint"), [(" and ", True), (", $y = ", True), (" or ", True), (" is not ", False), ("x" * 201, False)]
)
def test_what_makes_two_boxes_one_answer(between, joint):
    assert is_joint(between) is joint


def test_all_boxes_unless_one_is_taken_back():
    assert all_answers(r"If a, \boxed{2}. If b, \boxed{3}. So \boxed{2}") == "2,3"
    for text in (r"\boxed{2}, wait: \boxed{3}", r"\boxed{2}", r"\boxed{2} \boxed{}"):
        assert all_answers(text) == ""
    assert all_answers(r"\boxed{2} " * MOST) == ""


@given(st.text(alphabet="\\boxedf{} 1$", max_size=60))
def test_boxes_lie_in_the_text_in_order_and_apart(text):
    found = boxes(text)
    assert all(0 <= box.start < box.end <= len(text) + 1 for box in found)
    assert all(one.end <= other.start for one, other in zip(found, found[1:], strict=False))
