r"""Boxes, and the ground truth of solutions that have several of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import SHARED
from verl_gpo.data.boxes import LONGEST, all_answers, boxes, closing, is_joint, last_answer
from verl_gpo.data.gold import final_answer

#: The published test split of MATH, where it is there.
MATH_TEST = SHARED / "data" / "math_test.jsonl"


def contents(text):
    return [box.content for box in boxes(text)]


def test_what_boxes_hold():
    assert contents(r"\boxed{1} and $\boxed{\frac{1}{2}}$.") == ["1", r"\frac{1}{2}"]
    assert contents(r"$\fbox{4}$, $\framebox{5}$, $x=\boxed 6$ holds") == ["4", "5", "6"]
    assert contents(r"\boxed{\boxed{7}} and \boxed{\boxed{2}+\boxed{3}}") == ["7", "{2}+{3}"]
    assert contents(r"so $\boxed{\frac{1}{2}}$, not \boxed") == [r"\frac{1}{2}", ""]
    assert contents(r"\mbox{no} box{1}") == []


def test_escaped_braces_are_no_braces_unless_no_other_closes():
    assert contents(r"\boxed{\{1,2\}}") == [r"\{1,2\}"]
    assert contents(r"\boxed{\left\{ x \right.} then") == [r"\left\{ x \right."]
    assert contents(r"\boxed{(1,2\}} then") == [r"(1,2\}"]
    assert contents(r"\boxed{5\} then") == ["5"]
    assert contents(r"\boxed{\{1,2\} then") == [""]
    assert closing("{" + "1" * LONGEST + "}", 0) == -1


@pytest.mark.parametrize(
    "between",
    [
        r"\) and \(",
        r"$, $",
        r"$; $",
        r" \quad \text{and} \quad ",
        "",
        "\n\n",
        r"\), \(y = ",
        r" \\ ",
        "$ or $x = ",
        ". ",
    ],
)
def test_boxes_side_by_side_are_one_answer(between):
    assert is_joint(between)
    assert last_answer(rf"\boxed{{6}}{between}\boxed{{7}}")[1] == "6,7"


@pytest.mark.parametrize(
    "between", [r"\), no: the sum is \(", " is wrong, it is ", "\n\n**Final answer**\n\n", r"$. $6+1="]
)
def test_prose_and_formulas_separate_boxes(between):
    assert not is_joint(between)
    assert last_answer(rf"\boxed{{6}}{between}\boxed{{7}}")[1] == "7"


def test_a_box_that_is_cut_off_or_empty_is_no_answer():
    assert last_answer(r"\boxed{6} and \boxed{7")[1] == last_answer(r"\boxed{6} and \boxed{}")[1] == ""
    assert last_answer("none") == (-1, "")
    assert last_answer(r"\boxed{7} \boxed{7}")[1] == "7"


def test_all_boxes_unless_one_is_taken_back():
    assert all_answers(r"If $r=1$, $b=\boxed{2}$. If $r=-1$, $b=\boxed{3}$.") == "2,3"
    assert all_answers(r"It is \boxed{2}. Wait, \boxed{3}") == all_answers(r"\boxed{2}") == ""


@given(st.text(alphabet="{}\\ box1ed$,", max_size=80))
def test_any_text_has_boxes_in_order(text):
    found = boxes(text)
    assert all(box.start < box.end for box in found)
    assert all(one.end <= other.start for one, other in zip(found, found[1:], strict=False))


ROWS = [
    ("Find the root.", r"It is $\boxed{3}$.", "3"),
    ("Find the root.", "There is none.", None),
    ("Find the root.", r"so $\boxed{\frac{1}{2}}$, not \boxed", None),
    # steps, and one value in several forms
    ("Find $a+b$.", r"Here $\boxed{a=1}$, so the sum is $\boxed{3}$.", "3"),
    ("What is it?", r"$\boxed{\frac{3}{2}}$ or $\boxed{1\frac12}$", r"1\frac12"),
    ("Find all of it, separated by commas.", r"$\boxed{\tfrac{3}{2}} = \boxed{\frac 32}$", r"\frac 32"),
    ("Fill in $\\boxed{\\phantom{2}}$.", r"$3+\boxed{\phantom{2}}=7$, so $\boxed{4}$.", "4"),
    # several values
    ("Find all solutions, separated by commas.", r"So $x$ is $\boxed{-2}$ or $\boxed{1}$.", "-2,1"),
    ("Find all possible values of $d$.", r"\boxed{5-i}, \\ \boxed{11}, \\ \boxed{6i}", "5-i,11,6i"),
    (
        "Enter the angles, separated by commas.",
        r"One is $\boxed{30^\circ}$. Another is $\boxed{60^\circ}$.",
        r"30^\circ,60^\circ",
    ),
    # alternatives
    ("What is the difference?", r"It is $\boxed{-3}$. Note: $\boxed{3}$ is also accepted as an answer.", '["-3", "3"]'),
    ("Enter one of the foci, not both.", r"$\boxed{(1,0)}$ and $\boxed{(0,0)}$.", '["(1,0)", "(0,0)"]'),
    ("Find a vertex.", r"\boxed{(1,2)} and \boxed{(3,2)}. (Either point is a correct answer.)", '["(1,2)", "(3,2)"]'),
]


@pytest.mark.parametrize(("question", "solution", "gold"), ROWS)
def test_ground_truths(question, solution, gold):
    assert final_answer(question, solution) == gold


@pytest.mark.skipif(not MATH_TEST.is_file(), reason="the published MATH test split is not here")
def test_published_rows_of_math():
    """The twelve rows whose boxes are several values or alternatives, and no other row of 5,000."""
    rows = [json.loads(line) for line in MATH_TEST.read_text(encoding="utf-8").splitlines()]
    several = {414: 2, 2152: 3, 2549: 2, 2656: 2, 2703: 2, 4559: 2, 4562: 3, 4860: 2}
    alternatives = {333, 2716, 2912, 2936}
    for index, row in enumerate(rows):
        gold = final_answer(row["problem"], row["solution"])
        different = [box.content for box in boxes(row["solution"])]
        if index in several:
            assert gold.split(",") == different, index
        elif index in alternatives:
            assert json.loads(gold) == different, index
        else:
            assert gold == different[-1], index
