"""GPOConfig: presets, overrides, and one line of help for everything that cannot work."""

from dataclasses import FrozenInstanceError

import pytest

from verl_gpo.config import PRESETS, ConfigError, GPOConfig


def test_the_paper_preset_is_the_paper():
    paper = GPOConfig.from_mapping({"preset": "paper"})
    assert paper == GPOConfig()
    assert (paper.n_mc, paper.rule, paper.reset) == (4, "argmax", "before")
    assert (paper.search, paper.value_model, paper.learn_from, paper.anchors) == ("uniform", "means", "fresh", 1)
    assert (paper.min_advantage, paper.min_confidence, paper.skip_groups) == (0.0, 0.0, "none")


def test_the_preset_authors_is_the_table_of_its_page():
    authors = GPOConfig.from_mapping({"preset": "authors"})
    assert (authors.anchors, authors.anchor_outcome, authors.solved_reward) == (0, "failed", 1.0)
    assert (authors.splitter, authors.min_step_tokens, authors.max_steps) == ("line_tokens", 30, 30)
    assert (authors.search, authors.n_mc, authors.states_at_once, authors.search_seconds) == ("highest", 4, 4, 200.0)
    assert (authors.learn_from, authors.rows, authors.n_reentry, authors.reset) == ("best", "replaced", 1, "before")
    assert (authors.scored, authors.credit, authors.cost_ceiling) == ("continuation", "outcome", 0.0)
    assert authors.reserved_rows == 0 and not authors.rows_vary


@pytest.mark.parametrize("preset", ["vineppo", "spo"])
def test_segments_without_reentry(preset):
    config = GPOConfig.from_mapping({"preset": preset})
    assert (config.search, config.value_model, config.n_mc, config.anchors) == ("uniform", "means", 9, 0)
    assert (config.credit, config.n_reentry, config.cost_ceiling, config.min_step_tokens) == ("steps", 0, 0.0, 1)
    spo = preset == "spo"
    assert (config.splitter, config.splitter_option) == (("low_prob", "0.9/5") if spo else ("newline", ""))
    assert config.credit_below == (0.9 if spo else 1.0)


def test_the_splitter_of_a_preset_can_be_replaced_without_its_option():
    config = GPOConfig.from_mapping({"preset": "spo", "splitter": "newline"})
    assert (config.splitter, config.splitter_option) == ("newline", "")


def test_what_is_set_wins_over_the_preset_and_nulls_are_not_set():
    config = GPOConfig.from_mapping({"preset": "fast", "search_budget": 3, "min_confidence": None})
    assert (config.search_budget, config.min_confidence) == (3, PRESETS["fast"]["min_confidence"])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"n_mc": -1}, "algorithm.gpo.n_mc=-1: must be an integer of at least 1"),
        ({"n_mc": 2.5}, "algorithm.gpo.n_mc=2.5: must be an integer of at least 1"),
        ({"n_mc": True}, "algorithm.gpo.n_mc=True: must be an integer of at least 1"),
        ({"n_mc": "four"}, "algorithm.gpo.n_mc='four': must be an integer of at least 1"),
        ({"rule": "best"}, "algorithm.gpo.rule='best': must be one of argmax, abs, argmin, random"),
        ({"reset": 3}, "algorithm.gpo.reset=3: must be one of before, after"),
        (
            {"preset": "cheap"},
            "algorithm.gpo.preset='cheap': must be one of paper, fast, lean, vineppo, spo, authors, pods",
        ),
        ({"reentry_weight": -0.1}, "algorithm.gpo.reentry_weight=-0.1: must be a number of at least 0"),
        ({"stall_timeout": 0}, "algorithm.gpo.stall_timeout=0: must be a number above 0"),
        ({"enable": 1}, "algorithm.gpo.enable=1: must be true or false"),
        ({"anchors": -1}, "algorithm.gpo.anchors=-1: must be an integer of at least 0"),
        ({"min_confidence": 1.5}, "algorithm.gpo.min_confidence=1.5: must be a number from 0 to 1"),
        ({"stop_confidence": True}, "algorithm.gpo.stop_confidence=True: must be a number from 0 to 1"),
        ({"solved_reward": "half"}, "algorithm.gpo.solved_reward='half': must be a number"),
        ({"value_model": "mean"}, "algorithm.gpo.value_model='mean': must be one of means, curve"),
        (
            {"search": "binary"},
            "algorithm.gpo.search='binary': must be one of uniform, bisection, adaptive, propose, highest, "
            "informative, given, random, tool_entropy, none",
        ),
        (
            {"learn_from": "fresher"},
            "algorithm.gpo.learn_from='fresher': must be one of fresh, reuse, split, all, best",
        ),
        ({"splitter_option": ["a"]}, "algorithm.gpo.splitter_option=['a']: must be a text or a number"),
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["solved_reward", "min_advantage", "min_confidence", "reentry_weight", "stall_timeout"])
def test_a_number_is_finite(key, value):
    with pytest.raises(ConfigError, match=rf"^algorithm\.gpo\.{key}="):
        GPOConfig.from_mapping({key: value})


@pytest.mark.parametrize(
    ("splitter", "option", "fine"),
    [
        ("newline", None, True),
        ("newline", "x", False),
        ("tokens", 512, True),  # as YAML reads it
        ("tokens", "512", True),
        ("tokens", None, False),
        ("tokens", "0", False),
        ("tokens", 2.5, False),
        ("regex", r"\n+", True),
        ("regex", "(", False),
        ("low_prob", 0.2, True),
        ("low_prob", 1.5, False),
    ],
)
def test_a_splitters_option_is_checked_before_anything_starts(splitter, option, fine):
    block = {"splitter": splitter, "splitter_option": option}
    if fine:
        assert GPOConfig.from_mapping(block).splitter_option == ("" if option is None else str(option))
        return
    with pytest.raises(ConfigError, match=r"^algorithm\.gpo\.splitter_option=.*" + splitter) as error:
        GPOConfig.from_mapping(block)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_says_its_name(preset):
    assert GPOConfig.from_mapping({"preset": preset}).preset == preset


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        GPOConfig().n_mc = 8


def test_reserved_rows():
    assert GPOConfig(anchors=2).reserved_rows == 0 == GPOConfig(rows="widened", anchors=2).reserved_rows
    assert GPOConfig(rows="matched", anchors=2).reserved_rows == 8
    assert GPOConfig().reserved_rows == 0 and GPOConfig(rows="matched", n_reentry=3).reserved_rows == 3


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"anchors": 0}, r"^algorithm.gpo.anchors=0: must be a number of responses with rows=matched$"),
        ({"learn_from": "all"}, r"^algorithm.gpo.learn_from='all': must be another with rows=matched: its rows vary$"),
        (
            {"rows": "equal"},
            r"^algorithm.gpo.rows='equal': must be one of added, widened, matched, replaced, downsampled$",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(field, message):
    with pytest.raises(ConfigError, match=message):
        GPOConfig(**{"rows": "matched", **field})
