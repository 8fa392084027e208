"""What a setting may hold, and the conditions under which it is read."""

import math
from types import SimpleNamespace

import pytest

from verl_gpo.config.option import (
    BOOLEAN,
    TEXT_OR_NUMBER,
    ConfigError,
    When,
    integer,
    number,
    one_of,
    option,
    share,
    text,
    when,
)


@pytest.mark.parametrize(
    ("allowed", "said", "fine", "wrong"),
    [
        (integer(1), "must be an integer of at least 1", [1, 10**9], [0, 1.0, True, "1", None]),
        (number(), "must be a number", [-5, 0.5], [math.nan, math.inf, True, "1", None]),
        (number(0.0), "must be a number of at least 0", [0, 0.0, 3], [-1e-9]),
        (number(0.0, exclusive=True), "must be a number above 0", [1e-9], [0, 0.0]),
        (share(), "must be a number from 0 to 1", [0, 0.5, 1], [-0.1, 1.1, True]),
        (one_of(["a", "b"]), "must be one of a, b", ["a", "b"], ["c", "", None, 0]),
        (text("a name"), "must be a name", ["x"], ["", None, 3]),
        (text("a folder, or empty", empty=True), "must be a folder, or empty", ["", "x"], [None]),
        (BOOLEAN, "must be true or false", [True, False], [0, 1, "true"]),
        (TEXT_OR_NUMBER, "must be a text or a number", ["", "a", 3, 0.5], [None, ["a"]]),
    ],
)
def test_what_a_field_may_hold(allowed, said, fine, wrong):
    assert allowed.text == said
    assert [value for value in fine if not allowed.accepts(value)] == []
    assert [value for value in wrong if allowed.accepts(value)] == []


def test_an_error_is_one_line_with_key_value_and_what_is_allowed():
    assert str(ConfigError("a.b", "x", "must be y")) == "a.b='x': must be y"


def test_a_condition_holds_where_one_setting_has_one_of_the_values():
    condition = when(search=("a", "b"), trace_dir=())
    held = [(search, folder) for search in "abc" for folder in ("", "x")]
    held = [pair for pair in held if condition.holds(SimpleNamespace(search=pair[0], trace_dir=pair[1]))]
    assert held == [("a", ""), ("a", "x"), ("b", ""), ("b", "x"), ("c", "x")]


def test_a_condition_in_words():
    assert str(when(search=("adaptive",))) == "search=adaptive"
    assert str(when(search=("a", "b", "c"), trace_dir=())) == "search=a, b or c, or a trace_dir"
    assert str(When({"search": ("a",)}, "in words")) == "in words"


def test_a_field_carries_what_documentation_and_checks_need():
    condition = when(search=("a",))
    made = option(3, integer(1), "Help.", condition, owner="estimator")
    assert made.default == 3
    assert {key: made.metadata[key] for key in ("help", "read", "owner")} == {
        "help": "Help.",
        "read": (condition,),
        "owner": "estimator",
    }
    assert option(1, integer(1), "Help.").metadata["owner"] == "rollout"
