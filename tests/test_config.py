"""GPOConfig: presets, overrides, and one line of help for everything that cannot work."""

from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.config import PRESETS, ConfigError, GPOConfig, reference_table


def test_the_paper_preset_is_the_paper():
    paper = GPOConfig.from_mapping({"preset": "paper"})
    assert paper == GPOConfig()
    assert (paper.n_mc, paper.rule, paper.reset) == (4, "argmax", "before")


def test_what_is_set_wins_over_the_preset_and_nulls_are_not_set():
    config = GPOConfig.from_mapping({"preset": "fast", "max_steps": 3, "n_mc": None})
    assert (config.max_steps, config.n_mc) == (3, PRESETS["fast"]["n_mc"])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"n_mc": -1}, "algorithm.gpo.n_mc=-1: must be an integer of at least 1"),
        ({"n_mc": 2.5}, "algorithm.gpo.n_mc=2.5: must be an integer of at least 1"),
        ({"n_mc": True}, "algorithm.gpo.n_mc=True: must be an integer of at least 1"),
        ({"n_mc": "four"}, "algorithm.gpo.n_mc='four': must be an integer of at least 1"),
        ({"rule": "best"}, "algorithm.gpo.rule='best': must be one of argmax, abs, argmin, random"),
        ({"reset": 3}, "algorithm.gpo.reset=3: must be one of before, after"),
        ({"preset": "cheap"}, "algorithm.gpo.preset='cheap': must be one of paper, fast"),
        ({"reentry_weight": -0.1}, "algorithm.gpo.reentry_weight=-0.1: must be a number of at least 0"),
        ({"request_timeout": 0}, "algorithm.gpo.request_timeout=0: must be a number above 0"),
        ({"enable": 1}, "algorithm.gpo.enable=1: must be true or false"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(block, message):
    with pytest.raises(ConfigError) as error:
        GPOConfig.from_mapping(block)
    assert str(error.value) == message


def test_a_misspelt_key_is_named_and_the_nearest_one_suggested():
    with pytest.raises(ConfigError, match=r"^algorithm\.gpo\.n_mcs=4: no such key; did you mean n_mc\?") as error:
        GPOConfig.from_mapping({"n_mcs": 4})
    assert "\n" not in str(error.value)


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        GPOConfig().n_mc = 8


@given(st.integers(0, 50), st.integers(2, 50))
def test_the_prefix_budget_always_leaves_a_token(longest, response_length):
    budget = GPOConfig(max_prefix_tokens=longest).prefix_budget(response_length)
    assert 0 <= budget < response_length
    assert longest == 0 or budget <= longest


def test_every_field_is_documented():
    table = reference_table()
    for option in fields(GPOConfig):
        assert f"| `{option.name}` |" in table and option.metadata["help"]
