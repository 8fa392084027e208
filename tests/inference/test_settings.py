"""``KEY=VALUE`` arguments: values as YAML, text as it is."""

import pytest

from verl_gpo.config import GPOConfig
from verl_gpo.inference.settings import read_settings

PATTERNS = [
    "[.!?]",
    r"\n\n(?=Step \d+)",
    "(?<=[.!?]) ",
    "a: b",
    "a #b",
    "*x",
    "&x",
    "%",
    "=",
    "x=y",
    "'",
    "{2}",
    "~",
    "|",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("quotes", ["", "'", '"'])
def test_a_pattern_survives(pattern, quotes):
    assert read_settings([f"splitter_option={quotes}{pattern}{quotes}"]) == {"splitter_option": pattern}


def test_it_comes_out_of_the_configuration_as_it_went_in():
    given = read_settings(["splitter=regex", "algorithm.gpo.splitter_option=[.!?]"])
    assert GPOConfig.from_mapping(given).splitter_option == "[.!?]"


def test_other_values_are_yaml():
    given = read_settings(["n_mc=8", "enable=false", "max_steps=null", "search=null", "limits={image: 2}"])
    assert given == {"n_mc": 8, "enable": False, "max_steps": None, "search": None, "limits": {"image": 2}}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("n_mc", "'n_mc': must be KEY=VALUE"),
        ("=3", "'=3': must be KEY=VALUE"),
        ("n_mc=[1", "n_mc=[1: must be a value in YAML"),
    ],
)
def test_what_is_no_setting_is_refused_in_one_line(pair, said):
    with pytest.raises(ValueError) as error:
        read_settings([pair])
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
