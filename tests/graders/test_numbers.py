"""Plain numbers in digits and words, units behind them, and bases."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.graders import units
from verl_gpo.graders.numbers import Number, in_base, in_words, number, same_number

NUMBERS = [
    ("58", 58),
    ("-58", -58),
    ("1,250,000.5", Fraction(2500001, 2)),
    ("1 250 000", 1250000),
    (".5", Fraction(1, 2)),
    ("1.5e3", 1500),
    (r"1.5 \times 10^{-2}", Fraction(3, 200)),
    ("10^{4}", 10000),
    (r"-\frac{3}{4}", Fraction(-3, 4)),
    (r"1\frac{1}{2}", Fraction(3, 2)),
    ("1 1/2", Fraction(3, 2)),
    (r"0.1\overline{6}", Fraction(1, 6)),
    ("2 million", 2_000_000),
    ("five dozen", 60),
    ("fifty-eight", 58),
    # none of these is one plain number
    ("1 2", None),
    ("100, 200", None),
    ("1,00", None),
    ("1/0", None),
    ("58x", None),
    ("x", None),
    ("", None),
    ("9" * 500, None),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(text, value):
    found = number(text)
    assert (found and found.value) == value


WORDS = [
    ("zero", 0),
    ("thirteen", 13),
    ("one hundred and five", 105),
    ("two thousand three hundred forty-one", 2341),
    ("one million", 1_000_000),
    ("minus seven", -7),
    ("two three", None),
    ("forty fifty", None),
    ("forty twelve", None),
    ("hundred", None),
    ("seven and", None),
    ("a", None),
    ("plums", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "value"), WORDS)
def test_words(text, value):
    assert in_words(text) == value


@given(st.integers(-(10**12), 10**12))
def test_digits_are_read_with_and_without_thousands(value):
    assert number(str(value)) == number(f"{value:,}") == Number(Fraction(value), True, False)


@given(st.integers(-999, 999), st.integers(1, 999))
def test_fractions_equal_their_decimals_to_six_digits(above, below):
    exact, decimal = number(rf"\frac{{{above}}}{{{below}}}"), number(f"{above / below:.9f}")
    assert same_number(exact, decimal) or abs(above / below) < 1e-3
    assert not same_number(exact, number(f"{above / below + 0.01:.9f}"))


def test_exact_numbers_are_compared_exactly_and_percentages_both_ways():
    assert not same_number(number("1000000000"), number("1000000001"))
    assert not same_number(number("0.00000003"), number("0.00000004"))
    assert same_number(number("28%"), number("28")) and same_number(number("28%"), number("0.28"))
    assert not same_number(number("28%"), number("2.8"))


def test_bases():
    assert in_base("2516_8") == in_base("(2516)_{8}") == in_base(r"2516_{\text{eight}}") == ("2516", "8")
    assert in_base(r"2516_{\text{base } 8}") == in_base(r"2516 \text{ (base 8)}") == ("2516", "8")
    assert in_base("1A_{16}") == ("1A", "16")
    assert in_base("x_1") is in_base("a1_2") is in_base("2516") is in_base("F_{n}") is None


UNITS = [
    (r"25\text{ cm}^2", "25", ("cm", "^2")),
    (r"25 \text{ square centimeters}", "25", ("cm", "^2")),
    (r"8\sqrt{3} \text{ square inches}", r"8\sqrt{3}", ("in", "^2")),
    ("25 plums, altogether", "25", ("plum",)),
    ("25/day", "25", ("day",)),
    ("25% of them", "25%", ()),
    ("25 (twenty-five)", "25", ()),
    ("thirteen plums", "13", ("plum",)),
    (r"9\text{ a.m.}", "9", ("am",)),
    ("5 million dollars", "5 million", ("dollar",)),
    ("5m", "5m", ()),
    ("5 m", "5", ("m",)),
    # no units: they change the value, or are variables
    *(
        (text, text, ())
        for text in ("5 factorial", "5 or 6", "5 and a half", "5 thirds", "5 tens", r"5 \text{ or more}")
    ),
    *((text, text, ()) for text in ("6xy", r"\pi r^2 h", "x+4m", "5 x", r"5\text{ million}", "5")),
]


@pytest.mark.parametrize(("text", "value", "unit"), UNITS)
def test_units(text, value, unit):
    assert units.without(text) == (value, unit)


def test_in_a_formula_letters_are_variables():
    assert units.without("6 abc", formula=True) == ("6 abc", ())
    assert units.without("6 m", formula=True) == ("6 m", ())
    assert units.without(r"6 \text{ m}", formula=True) == ("6", ("m",))


def test_units_agree_if_one_is_missing_or_both_are_the_same():
    assert units.agree(("cm",), ()) and units.agree(("cm",), units.canonical("centimetres"))
    assert units.agree(("child", "ticket"), ("ticket",))
    assert not units.agree(("cm",), ("m",)) and not units.agree(("cm", "^2"), ("cm",))
    assert not units.agree(("am",), ("pm",)) and not units.agree(("cm",), ("plum",))
    assert not units.agree(("plum",), ("fig",))
