"""Units and words behind a value."""

import pytest

from verl_gpo.graders.units import agree, canonical, without


@pytest.mark.parametrize(
    ("unit", "power", "found"),
    [
        ("cm", "2", ("cm", "^2")),
        ("square inches", "", ("in", "^2")),
        ("metres", "", ("m",)),
        ("dollars per hour", "", ("dollar", "h")),
        ("apples, altogether", "", ("apple",)),
        ("p.m.", "", ("pm",)),
        ("dozen", "", None),  # changes the value
        ("million", "", None),
        ("factorial", "", None),
        ("", "", ()),
    ],
)
def test_words_of_a_unit(unit, power, found):
    assert canonical(unit, power) == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("cm",), ("cm",), True),
        (("cm",), ("m",), False),
        (("cm",), ("cm", "^2"), False),
        (("cm",), (), True),  # most questions name it
        (("apple",), ("red", "apple"), True),
        (("apple",), ("pear",), False),
    ],
)
def test_units_that_agree(one, other, same):
    assert agree(one, other) is same is agree(other, one)


@pytest.mark.parametrize(
    ("text", "formula", "found"),
    [
        ("5 cm", False, ("5", ("cm",))),
        ("£5", False, ("5", ("£",))),
        ("thirteen apples", False, ("13", ("apple",))),
        ("5 million dollars", False, ("5 million", ("dollar",))),
        ("5 or 6", False, ("5 or 6", ())),
        ("6 abc", True, ("6 abc", ())),  # in a ground truth letters are variables
        ("6xy", False, ("6xy", ())),
        ("7", False, ("7", ())),
    ],
)
def test_a_value_without_its_unit(text, formula, found):
    assert without(text, formula=formula) == found
