"""The option that each splitter takes, and that no other passes; what is allowed can be built."""

import pytest

from verl_gpo.config.splitters import check_option
from verl_gpo.core.segment.steps import build_splitter


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("newline", None),
        ("code", ""),
        ("turn", None),
        ("tokens", "64"),
        ("regex", r"\n|;"),
        ("low_prob", "0.5"),
        ("low_prob", "1e-3"),
        ("low_prob", "0.9/5"),
    ],
)
def test_options_that_are_allowed(name, option):
    assert check_option(name, option) is None
    assert build_splitter(name, option, lambda ids: "")([], []) == []


@pytest.mark.parametrize(
    ("name", "option", "reason"),
    [
        (
            "lines",
            None,
            "known are newline, paragraph, sentence, code, turn, tokens, regex, low_prob, line_tokens",
        ),
        ("newline", "3", "newline takes no option"),
        ("tokens", None, "tokens needs an option: an integer of at least 1"),
        ("tokens", "", "tokens needs an option"),
        ("tokens", "0", "tokens needs an integer of at least 1"),
        ("tokens", "2.5", "tokens needs an integer of at least 1"),
        ("low_prob", "0", "low_prob needs a number above 0 and below 1"),
        ("low_prob", "1", "low_prob needs a number above 0 and below 1"),
        ("low_prob", "nan", "low_prob needs a number above 0 and below 1"),
        ("low_prob", "half", "low_prob needs a number above 0 and below 1"),
        ("low_prob", "0.9/0", "low_prob needs a number above 0 and below 1, or such a number and an integer"),
        ("low_prob", "0.9/", "as 0.9/5"),
        ("line_tokens", "5", "line_tokens takes no option"),
        ("regex", None, "regex needs an option: a Python regular expression"),
        ("regex", "[a", "'[a' is not a valid regular expression: unterminated character set"),
    ],
)
def test_options_that_are_not(name, option, reason):
    assert reason in check_option(name, option)
