"""Equality of mathematical answers without a worker process, and what is asked of one."""

import pytest

from verl_gpo.graders import math
from verl_gpo.graders.math import accepts, equal, grade, normalise


class Pool:
    def __init__(self, found):
        self.found, self.calls = found, []

    def run(self, *call):
        self.calls.append(call)
        return self.found


@pytest.fixture
def worker(monkeypatch):
    """``worker(found)``: what the worker process would say of every formula."""

    def says(found):
        pool = Pool(found)
        monkeypatch.setattr(math, "shared", lambda: pool)
        for remembered in (math.equal, math._ask_worker):
            remembered.cache_clear()
        return pool

    yield says
    for remembered in (math.equal, math._ask_worker):
        remembered.cache_clear()


@pytest.mark.parametrize(
    ("gold", "pred", "same"),
    [
        ("5", "", False),
        ("x", " x ", True),
        ("1/2", "0.5", True),
        ("5", "5 cm", True),
        ("5 cm", "5 m", False),
        ("(1,2)", "(1, 2)", True),
        ("(1,2)", "(2,1)", False),
        ("100,200", "200,100", True),
        ("12_8", "12_9", False),
        ("even", r"\text{Even}", True),
        ("even", "odd numbers", False),
    ],
)
def test_text_numbers_units_and_structure_need_no_worker(worker, gold, pred, same):
    pool = worker(not same)
    assert equal(gold, pred) is same and pool.calls == []


@pytest.mark.parametrize(("found", "same"), [(True, True), (False, False), (None, False)])
def test_formulas_are_asked_of_the_worker_once(worker, found, same):
    pool = worker(found)
    assert equal("x^2+2x", "x(x+2)") is same is equal("x^2+2x", "x(x+2)")
    assert pool.calls == [("math", "x^2+2x", "x(x+2)")]


def test_an_answer_of_many_formulas_that_fail_is_given_up(worker):
    pool = worker(None)
    names = "abcdefgh"
    assert not equal(",".join(f"{n}^2+{n}" for n in names), ",".join(f"{n}({n}+1)" for n in names))
    assert len(pool.calls) == math.FAILURES


def test_a_very_long_answer_is_compared_as_text(worker):
    pool = worker(True)
    long = "x+" * math.LONGEST + "1"
    assert equal(long, long + " ") and not equal("x", long) and pool.calls == []


def test_words_around_a_number():
    assert accepts("18", "Janet makes $18 every day") and not accepts("18", "it is not 18")
    assert accepts("5", r"\textbf{(E)} 5") and not accepts("5", r"\textbf{(E)} 6")


def test_normalised_answers():
    assert [normalise(text) for text in (r"\dfrac12", "(C)", "Even Number.", "X")] == [
        r"\frac{1}{2}",
        "C",
        "even number",
        "X",
    ]


@pytest.mark.parametrize(
    ("response", "golds", "graded"),
    [
        (r"\boxed{2}", ("2", "3"), (1.0, 1.0, "2")),
        (r"\boxed{3,2}", ("2", "3"), (1.0, 1.0, "3,2")),  # several of the alternatives
        (r"\boxed{3,4}", ("2", "3"), (0.0, 0.0, "3,4")),
        (r"\boxed{4}", ("2", "3"), (0.0, 0.0, "4")),
        (r"If $r=1$, $\boxed{2}$. If $r=-1$, $\boxed{3}$.", ("2,3",), (1.0, 1.0, "2,3")),  # a box for each value
        ("no answer", ("2",), (0.0, 0.0, "")),
    ],
)
def test_grades(response, golds, graded):
    assert grade(response, golds, {}) == graded
