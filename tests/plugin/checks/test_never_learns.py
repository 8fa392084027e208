"""Settings that would search and never learn are refused before the start, with the least value that learns."""

import pytest

from verl_gpo.config import ConfigError, GPOConfig
from verl_gpo.plugin.checks import validate
from verl_gpo.plugin.checks.never_learns import check_learns

BECAUSE = "a re-entry group would have 1 row, which has nothing to be compared with, so nothing would be learnt"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_reentry": 1}, "n_reentry=1: must be at least 2 with search=uniform, learn_from=fresh and"),
        ({"search": "random", "n_reentry": 1}, "n_reentry=1: must be at least 2 with search=random and"),
        (
            {"learn_from": "split", "n_mc": 2},
            "n_mc=2: must be at least 4 with search=uniform, learn_from=split and",
        ),
        (
            {"learn_from": "split", "n_mc": 3, "search": "bisection"},
            "n_mc=3: must be at least 4 with search=bisection, learn_from=split and",
        ),
        ({"learn_from": "reuse", "n_mc": 1}, "n_mc=1: must be at least 2 with search=uniform, learn_from=reuse and"),
        ({"learn_from": "all", "n_mc": 1}, "n_mc=1: must be at least 2 with search=uniform, learn_from=all and"),
        (
            {"search": "propose", "learn_from": "split", "n_reentry": 2},
            "n_reentry=2: must be at least 3 with search=propose, learn_from=split and",
        ),
        (
            {"search": "adaptive", "learn_from": "reuse", "n_reentry": 1, "search_budget": 2},
            "n_reentry=1: must be at least 2 with search=adaptive, learn_from=reuse and",
        ),
        (  # neither alone would do: n_mc is named once this is mended
            {"rows": "matched", "learn_from": "reuse", "n_mc": 1, "n_reentry": 1},
            "n_reentry=1: must be at least 2 with search=uniform, learn_from=reuse and",
        ),
    ],
)
def test_refused_with_the_key_and_the_least_value(settings, line):
    gpo = GPOConfig(**settings)
    with pytest.raises(ConfigError) as refused:
        check_learns(gpo, "gpo")
    assert str(refused.value) == f"algorithm.gpo.{line} adv_estimator=gpo: {BECAUSE} from re-entry"
    check_learns(gpo, "gae")  # the critic is the baseline of a single row


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preset": "fast"},
        {"preset": "lean"},
        {"search": "none", "n_reentry": 1},
        {"learn_from": "reuse", "n_reentry": 1},
        {"learn_from": "split", "n_mc": 1},
        {"base_estimator": "reinforce_plus_plus", "n_reentry": 1},
    ],
)
def test_what_can_learn_is_accepted(settings):
    check_learns(GPOConfig.from_mapping(settings, refuse_unread=False), "gpo")


def test_it_is_one_of_the_checks_before_the_start(merged):
    with pytest.raises(ConfigError, match=r"^algorithm\.gpo\.n_reentry=1: must be at least 2 "):
        validate.check(merged("algorithm.gpo.n_reentry=1"))
    validate.check(merged("algorithm.gpo.n_reentry=1", "algorithm.gpo.enable=false"))
    validate.check(merged("algorithm.gpo.n_reentry=1", "algorithm.adv_estimator=gae"))
