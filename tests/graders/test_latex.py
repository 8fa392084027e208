"""LaTeX in one form, and where it splits: worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.graders.latex import enclosed, flat, split, squeezed, tidy, tokens


@pytest.mark.parametrize(
    ("answer", "tidied"),
    [
        (r"\left\{1,\,2\right\}", r"\{1, 2\}"),
        ("½", r"\frac{1}{2}"),
        (r"\sqrt 2", r"\sqrt{2}"),
        ("√3", r"\sqrt{3}"),
        (r"\frac34", r"\frac{3}{4}"),
        ("x**2", "x^2"),
        ("{5}", "5"),
        ("5.", "5"),
        (r"90^\circ", "90"),
        (r"\sin 30^\circ", r"\sin 30^{\circ}"),  # in a function the degree counts
        ("１２", "12"),  # full-width digits
        ("", ""),
    ],
)
def test_what_only_typesets_is_left_out(answer, tidied):
    assert tidy(answer) == tidied


def test_text_as_plain_characters():
    assert flat(r"5\text{ cm}") == "5 cm"
    assert squeezed("1 2 + x") == "1 2+x" and squeezed("a b") == "ab"


def test_tokens_with_their_depth():
    assert list(tokens(r"(a,\{b\})")) == [
        (0, "(", 0),
        (1, "a", 1),
        (2, ",", 1),
        (3, r"\{", 1),
        (5, "b", 2),
        (6, r"\}", 1),
        (8, ")", 0),
    ]


def test_separators_in_brackets_do_not_split():
    assert split("(1,2),3=x", (",", "=")) == [("", "(1,2)"), (",", "3"), ("=", "x")]
    assert split("a", (",",)) == [("", "a")] and split("", (",",)) == [("", "")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[0,1)", ("[", "0,1", ")")),
        ("(1,(2))", ("(", "1,(2)", ")")),
        (r"\{1,2\}", (r"\{", "1,2", r"\}")),
        ("(1)+(2)", None),
        ("(1", None),
        ("1)", None),
        ("{1}", None),
    ],
)
def test_one_pair_of_brackets_around_a_text(text, found):
    assert enclosed(text) == found


@given(st.text(alphabet="ab,=(){}[]\\ 12", max_size=30))
def test_parts_and_separators_make_up_the_text(text):
    parts = split(text, (",", "="))
    assert "".join((before + part) for before, part in parts).replace(" ", "") == text.replace(" ", "")
