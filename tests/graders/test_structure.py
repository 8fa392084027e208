r"""LaTeX in one form, and answers of several parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.graders import latex, structure
from verl_gpo.graders.math import equal


def same_text(one, other):
    """A comparison of parts that needs no worker: numbers and text, and structure again."""
    decided = structure.compare(one, other, same_text) if one != other else True
    return latex.squeezed(one) == latex.squeezed(other) if decided is None else decided


TIDY = [
    (r"$\left( \tfrac12,\; 11{,}000 \right)$", r"( \frac{1}{2}, 11,000 )"),
    (r"25\mbox{ cm}^2", r"25\text{ cm}^2"),
    (r"\textbf{(\text{C})}", r"\text{(C)}"),
    (r"\mathbf{58}.", "58"),
    (r"\textcolor{red}{58}", "58"),
    (r"58\\", "58"),
    (r"58\}", r"58\}"),
    (r"11,\!111,\!100", "11,111,100"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    ("x ≤ −½", r"x \le - \frac{1}{2}".replace("- ", "-")),
    (r"90^{\circ}", "90"),
    (r"\sin 90^{\circ}", r"\sin 90^{\circ}"),
    ("sqrt(2) + pi", r"\sqrt{2} + \pi"),
    ("３８", "38"),
]


@pytest.mark.parametrize(("answer", "tidied"), TIDY)
def test_tidy(answer, tidied):
    assert latex.tidy(answer) == tidied


@given(st.text(alphabet="\\{}()[],.^_ 1ax$", max_size=60))
def test_tidy_and_splitting_take_any_text(text):
    tidied = latex.tidy(text)
    assert len(latex.split(tidied, (",",))) >= 1
    assert latex.squeezed(latex.squeezed(tidied)) == latex.squeezed(tidied)
    structure.items(tidied), structure.equation(tidied), structure.as_interval(tidied), structure.matrix(tidied)


def test_spaces_between_digits_stay():
    assert latex.squeezed("1 2") == "1 2" and latex.squeezed("x + 1") == "x+1" and latex.squeezed("1 x") == "1x"


ITEMS = [
    ("1, 2; 3", ["1", "2", "3"]),
    (r"1 \text{ and } 2", ["1", "2"]),
    (r"7, -2, \text{ and } -5", ["7", "-2", "-5"]),
    (r"\{1, 2\}", ["1", "2"]),
    (r"\text{A,D}", ["A", "D"]),
    (r"\pm 2", ["2", "-2"]),
    ("1,000", ["1,000"]),
    ("100, 200", ["100", "200"]),
    ("(1,2)", ["(1,2)"]),
    ("f(1,2), 3", ["f(1,2)", "3"]),
    (r"\text{red and blue}", [r"\text{red and blue}"]),
    (r"7 \text{ or more}", [r"7 \text{ or more}"]),
]


@pytest.mark.parametrize(("text", "parts"), ITEMS)
def test_items(text, parts):
    assert structure.items(text) == parts


PAIRS = [
    ("1, 2", "2, 1", True),
    ("1, 2", "1", False),
    ("1, 2", "1, 2, 3", False),
    ("1", "1, 1", True),
    ("100, 200", "100200", False),
    ("(1,2)", "(2,1)", False),
    ("(1,2)", "[1,2]", False),
    ("(1,2)", "(1,2,3)", False),
    ("(1,2), (3,4)", "(3,4), (1,2)", True),
    (r"\{1,2\}", "2,1", True),
    ("a=1, b=2", "1, 2", True),
    ("a=1, b=2", "2, 1", False),
    ("a=1, b=2", "b=2, a=1", True),
    ("a=1, b=2", "(1,2)", True),
    ("x=1, x=2", "2, 1", True),
    ("x=5", "5", True),
    ("x=5", "y=5", None),
    ("5", "2x=5", False),
    ("x^2+y^2=13", "13", False),
    ("(0,1)", "0<x<1", True),
    ("(0,1]", r"0<x \le 1", True),
    (r"(5,\infty)", "5<x", True),
    (r"[-2,7]", r"x \in [-2,7]", True),
    (r"(-\infty,0)\cup(1,\infty)", r"x<0 \text{ or } x>1", True),
    (r"(0,1)\cup(2,3)", r"(2,3)\cup(0,1)", True),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", True),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", False),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", False),
    (r"\mathbb{R}", r"(-\infty,\infty)", True),
    ("x", "y", None),
]


@pytest.mark.parametrize(("gold", "pred", "verdict"), PAIRS)
def test_compare(gold, pred, verdict):
    assert structure.compare(gold, pred, same_text) is verdict


def test_names_of_equations():
    assert structure.equation(r"\angle ABC = 30") == (r"\angle ABC", "30")
    assert structure.equation("a_{37} = 19") == ("a_{37}", "19")
    assert structure.equation("f(x) = x+1") == ("f(x)", "x+1")
    assert structure.equation("(p,q) = (3,2)") == ("(p,q)", "(3,2)")
    assert structure.equation("2x = 10") is structure.equation("x < 5 = y") is structure.equation("= 5") is None


def test_no_list_is_too_long_to_compare_in_time():
    many = ",".join(f"x^{i}" for i in range(200))
    assert not equal("1,2", many) and not equal(many, "1,2")
    # A name of many commands that is none in the end.
    assert structure.equation(r"\alpha\beta\text{a}_1^" * 30 + "7 = 5") is None
