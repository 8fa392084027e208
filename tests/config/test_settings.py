"""The fields: what a field that is set and not read is told, and that it is truly without effect."""

import random
from dataclasses import fields, replace

import pytest

from tests.core.fakes import CoinPolicy, root, run
from verl_gpo.config import ConfigError, GPOConfig, owned_by
from verl_gpo.config.names import SEARCHES

REENTERING = "is read with a search other than none only, and search is none"
LOOKING = "is read with search=uniform, bisection, adaptive or propose only, and search is "


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"stop_confidence": 0.5}, "stop_confidence=0.5: is read with search=adaptive only, and search is uniform"),
        (
            {"preset": "lean", "stop_confidence": 0.5},
            "stop_confidence=0.5: is read with search=adaptive only, and search is informative (preset lean)",
        ),
        (
            {"preset": "fast", "search": "random", "search_budget": 8},
            "search_budget=8: is read with search=adaptive only, and search is random",
        ),
        (
            {"search": "propose", "n_mc": 4},
            "n_mc=4: is read with search=uniform, bisection, adaptive or highest only, and search is propose",
        ),
        ({"search": "random", "rule": "abs"}, f"rule='abs': {LOOKING}random"),
        ({"preset": "lean", "min_advantage": 0.0}, f"min_advantage=0.0: {LOOKING}informative (preset lean)"),
        (
            {"rule": "random", "min_advantage": 0.1},
            "min_advantage=0.1: is read with search=adaptive or propose, or rule=argmax, abs or argmin only, and "
            "search is uniform, rule is random",
        ),
        (
            {"preset": "fast", "value_model": "curve"},
            "value_model='curve': is read with search=uniform or bisection only, and search is adaptive (preset fast)",
        ),
        (
            {"rule": "random", "min_confidence": 0.1},
            "min_confidence=0.1: is read with rule=argmax, abs or argmin only, and rule is random",
        ),
        (
            {"preset": "lean", "learn_from": "fresh"},
            "learn_from='fresh': is read with search=uniform, bisection, adaptive, propose, highest, given or random "
            "only, and search is informative (preset lean)",
        ),
        ({"search": "none", "n_reentry": 2}, f"n_reentry=2: {REENTERING}"),
        ({"search": "none", "rows": "matched"}, f"rows='matched': {REENTERING}, rows is matched"),
        ({"search": "none", "reset": "after"}, f"reset='after': {REENTERING}"),
        ({"search": "none", "step_token_budget": 9}, f"step_token_budget=9: {REENTERING}"),
        (
            {"solved_reward": 1.0},
            "solved_reward=1.0: is read with anchor_outcome=failed or solved, or skip_groups=solved, failed, unanimous "
            "or mixed, or search=highest, or a trace_dir only, and anchor_outcome is any, skip_groups is none, search "
            "is uniform, trace_dir is empty",
        ),
        ({"trace_every": 2}, "trace_every=2: is read with a trace_dir only, and trace_dir is empty"),
        (
            {"exp_beta": 0.5, "base_estimator": "rloo"},
            "exp_beta=0.5: is read with base_estimator=grpo only, and base_estimator is rloo",
        ),
        (
            {"splitter_option": ""},
            "splitter_option='': is read with splitter=tokens, regex or low_prob only, and splitter is newline",
        ),
    ],
)
def test_it_is_named_with_the_setting_that_would_read_it(block, message):
    with pytest.raises(ConfigError) as error:
        GPOConfig.from_mapping(block)
    assert str(error.value) == f"algorithm.gpo.{message}"


@pytest.mark.parametrize(
    "block",
    [
        {"preset": "fast", "search": "uniform"},  # the budget is the preset's
        {"preset": "fast", "search": "random"},
        {"preset": "lean", "search": "none"},
        {"search": "adaptive", "stop_confidence": 0.9, "n_mc": 4, "search_budget": 0},
        {"search": "random", "stop_confidence": None},
        {"search": "given", "learn_from": "split", "reset": "after", "n_reentry": 2},
        {"trace_dir": "x", "trace_every": 2, "trace_max_mb": 5, "solved_reward": 1.0},
        {"skip_groups": "failed", "solved_reward": 1.0},
        {"search": "adaptive", "rule": "random", "min_advantage": 0.1},
        {"enable": False, "search": "random", "stop_confidence": 0.5, "n_mc": 2, "trace_every": 3, "exp_beta": 1.0},
    ],
)
def test_what_is_read_or_set_by_a_preset_or_switched_off_passes(block):
    assert GPOConfig.from_mapping(block).unread(block) == {}


def test_a_default_that_is_set_is_set():
    with pytest.raises(ConfigError, match="stop_confidence=0.9: is read with search=adaptive only"):
        GPOConfig.from_mapping({"stop_confidence": GPOConfig.stop_confidence})


def test_those_who_compare_searches_are_told_and_not_refused():
    block = {"search": "random", "rule": "abs", "n_mc": 2, "reset": "after"}
    assert set(GPOConfig.from_mapping(block, refuse_unread=False).unread(block)) == {"rule", "n_mc"}


def test_every_condition_names_fields_and_values_that_there_are():
    known = {field.name: field for field in fields(GPOConfig)}
    conditions = [condition for field in fields(GPOConfig) for condition in field.metadata["read"]]
    assert conditions
    for condition in conditions:
        for name, values in condition.settings.items():
            for value in values:
                assert known[name].metadata["allowed"].accepts(value), (name, value)


def test_owners():
    assert owned_by("estimator") == ("base_estimator", "reentry_weight", "exp_beta")
    assert len(owned_by("estimator")) + len(owned_by("rollout")) == len(fields(GPOConfig))


#: Random groups, of which at least one shows an effect.
SEEDS = 16
# The declaration is the truth.
OTHER = {
    "n_mc": 7,
    "search_budget": 3,
    "stop_confidence": 0.2,
    "max_continuation_tokens": 1,
    "value_model": "curve",
    "rule": "argmin",
    "min_advantage": 0.6,
    "min_confidence": 0.9,
    "reset": "after",
    "learn_from": "split",
    "n_reentry": 2,
    "prompt_token_budget": 1,
}


def outcome(seed, **settings):
    """What a random group comes to: requests, choices and rewards."""
    rng = random.Random(seed)
    curve = [rng.random() for _ in range(13)]
    policy = CoinPolicy(lambda n: curve[n])
    anchor = root(tokens=12, reward=float(rng.random() < 0.5))
    if settings["search"] == "tool_entropy":  # which needs tool calls
        anchor = replace(anchor, written=(1, 1, 1, 0) * 3)
    roots = [anchor, *(root(reward=0.0, first=50 * n) for n in (1, 2))]
    result = run(policy, roots, seed=str(seed), given=(0, 2, 3), **settings)
    chosen = [repr(reentry.critical) for reentry in result.reentries]
    return policy.requests, chosen, [[r.reward for r in reentry.rollouts] for reentry in result.reentries]


@pytest.mark.parametrize("rule", ["argmax", "random"])
@pytest.mark.parametrize("search", SEARCHES)
def test_what_is_read_has_an_effect_and_what_is_not_has_none(search, rule):
    settings = {"search": search, "rule": rule}
    config, before = GPOConfig(**settings), [outcome(seed, **settings) for seed in range(SEEDS)]
    read, heard = set(), set()
    for field in fields(GPOConfig):
        if field.name in OTHER:
            changed = {**settings, field.name: OTHER[field.name]}
            if any(outcome(seed, **changed) != before[seed] for seed in range(SEEDS)):
                heard.add(field.name)
            if all(condition.holds(config) for condition in field.metadata["read"]):
                read.add(field.name)
    assert heard == read
