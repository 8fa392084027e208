"""Statistics of a benchmark, worked out by hand."""

import io

import pytest
from rich.console import Console

from verl_gpo.evaluation.samples import Sample
from verl_gpo.evaluation.summary import measure, percent, table, votes


def row(*cells):
    """Samples of one problem by ``(prediction, accuracy)``."""
    return [
        Sample("b", 0, number, "r", prediction, accuracy, accuracy, 10 * (number + 1), finish, "p", "s")
        for number, (prediction, accuracy, finish) in enumerate(cells)
    ]


# Problem 1: two of four right, and "7" has most votes. Problem 2: none is right, one sample gives no answer.
ROWS = [
    row(("7", 1.0, "stop"), ("7.", 1.0, "stop"), ("8", 0.0, "stop"), ("9", 0.0, "length")),
    row(("1", 0.0, "stop"), ("1", 0.0, "length"), ("", 0.0, "stop"), ("2", 0.0, "stop")),
]


def test_votes_are_for_answers_and_not_for_spellings():
    assert votes(["$\\frac12$", "\\dfrac{1}{2}", "", " 3 ", "3", None]) == [0, 0, -1, 1, 1, -1]


def test_a_benchmark_by_hand():
    found = measure(ROWS)
    assert (found["problems"], found["k"]) == (2, 4)
    assert found["avg"]["value"] == pytest.approx(2 / 8)
    # pass@1 is avg; pass@2 of the first problem: 1 - C(2,2)/C(4,2) = 5/6; pass@4: 1.
    assert {k: each["value"] for k, each in found["pass"].items()} == pytest.approx(
        {"1": 1 / 4, "2": 5 / 12, "4": 1 / 2}
    )
    assert found["maj"]["4"]["value"] == pytest.approx(0.5)
    assert (found["tokens"], found["truncated"], found["unanswered"]) == (25.0, 2 / 8, 1 / 8)
    for each in (found["avg"], *found["pass"].values(), *found["maj"].values()):
        assert each["low"] <= each["value"] <= each["high"]


def test_where_the_reward_reports_no_predictions_there_is_no_majority():
    found = measure([row((None, 1.0, "stop")), row((None, 0.0, "stop"))])
    assert found["maj"] is found["unanswered"] is None and found["avg"]["value"] == 0.5 and set(found["pass"]) == {"1"}


def test_percent():
    assert percent(0.1234) == "12.3" and percent(0.05, signed=True) == "+5.0" and percent(-0.05, signed=True) == "-5.0"


def test_the_table_has_a_row_a_benchmark():
    said = io.StringIO()
    Console(file=said, width=100).print(table({"sums": measure(ROWS)}))
    (line,) = [line for line in said.getvalue().splitlines() if "sums" in line]
    assert line.split()[:4] == ["sums", "2", "4", "25.0"] and line.split()[-4:] == ["50.0", "50.0", "25", "25.0"]
