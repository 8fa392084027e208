"""Ground truths as they come: alternatives, what is refused, and the answer in a solution."""

import numpy as np
import pytest

from verl_gpo.graders.gold import BadGroundTruth, alternatives, mathematical, option, repeats


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        ("18", ("18",)),
        (" 18 ", ("18",)),
        (18, ("18",)),
        (27.0, ("27",)),
        (2.5, ("2.5",)),
        (np.int64(7), ("7",)),
        ('["18", "19"]', ("18", "19")),
        (["18", 19, "18"], ("18", "19")),
        (np.array(["a", "b"]), ("a", "b")),
        ("[1,2]", ("[1,2]",)),  # an interval
        ('["half', ('["half',)),  # no JSON
    ],
)
def test_the_answers_of_which_each_is_right(gold, found):
    assert alternatives(gold) == found


@pytest.mark.parametrize("gold", ["", "  ", [], [""], None, True, {"a": 1}, [["1"]], [None]])
def test_what_no_response_could_match_is_refused(gold):
    with pytest.raises(BadGroundTruth, match="ground_truth=") as error:
        alternatives(gold)
    assert "\n" not in str(error.value)


def test_the_answer_in_a_whole_solution():
    assert mathematical("It is 5.\n#### 5") == "5"
    assert mathematical(r"thus $\boxed{7}$ it is") == "7"
    assert mathematical(r"\boxed{") == r"\boxed{" and mathematical("x+1") == "x+1"


def test_the_letter_of_an_option():
    assert [option(gold) for gold in ("B", "(b)", "b.", "option C")] == ["B", "B", "B", "C"]
    assert option("the cat", ["dog", "the cat"]) == "B"
    for choices in ([], ["cat"], ["the cat", "the cat"]):
        with pytest.raises(BadGroundTruth, match="names no option"):
            option("the cat", choices)


def test_an_answer_that_repeats_the_list():
    assert repeats(("18", "19"), '["18", "19"]') and not repeats(("18", "19"), '["19", "18"]')
    assert not repeats(("18",), "18") and not repeats(("18", "19"), "")
