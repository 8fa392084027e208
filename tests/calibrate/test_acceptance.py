"""What the searches promise, on simulated responses: found how often, at what cost, and learnt from without bias.

Seeded, so they say the same every time; the margins are several standard errors wide.
"""

import pytest

from verl_gpo.calibrate.curves import simulated_cases
from verl_gpo.calibrate.replay import replay
from verl_gpo.config import GPOConfig


def summary(cases, repeats=1, **settings):
    return replay(GPOConfig(**settings), cases, repeats).summary()


@pytest.fixture(scope="module")
def one_jump():
    return simulated_cases("one jump", 16, 60, seed=1)


@pytest.fixture(scope="module")
def several_jumps():
    return simulated_cases("several jumps", 16, 40, seed=1)


@pytest.fixture(scope="module")
def flat():
    return simulated_cases("flat", 16, 80, seed=5)


@pytest.mark.parametrize("search", ["adaptive", "bisection"])
def test_a_jump_is_found_as_often_as_by_the_papers_search_at_a_fraction_of_its_tokens(one_jump, search):
    paper, other = (summary(one_jump, n_mc=8, n_reentry=1, search=name) for name in ("uniform", search))
    assert other["hit_rate"] >= paper["hit_rate"] - 0.02
    assert other["tokens"] <= 0.4 * paper["tokens"]


def test_the_papers_search_finds_a_jump_more_often_the_more_it_draws(one_jump):
    once, four, sixteen = (summary(one_jump, n_mc=n, n_reentry=1)["hit_rate"] for n in (1, 4, 16))
    assert once + 0.2 < four < sixteen and sixteen > 0.8


def test_opposing_jumps_are_where_bisection_fails_and_adaptive_does_not():
    cases = simulated_cases("opposing jumps", 16, 40, seed=1)
    bisection, adaptive = (summary(cases, n_mc=8, n_reentry=1, search=s)["hit_rate"] for s in ("bisection", "adaptive"))
    assert adaptive > bisection + 0.1


# The winner's curse: a state that looks worse than it is, is the likelier to be chosen by the gain after it.
@pytest.mark.parametrize(("search", "learn_from"), [("uniform", "fresh"), ("uniform", "split"), ("adaptive", "split")])
def test_fresh_and_split_groups_are_unbiased(several_jumps, search, learn_from):
    # 80 groups of 8 rewards, of 4 where uniform splits: a standard error of about .02.
    bias = summary(several_jumps, 2, n_mc=8, n_reentry=8, search=search, learn_from=learn_from)["bias"]
    assert abs(bias) < 0.07


def test_reused_groups_look_worse_than_their_state_is(several_jumps):
    assert summary(several_jumps, 2, n_mc=8, n_reentry=8, learn_from="reuse")["bias"] < -0.07


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
def test_where_nothing_decides_there_is_hardly_a_reentry(flat, search):
    # 3 to 10 % of several hundred responses, by search; of these 80 the share has a standard error of .03.
    settings = {"n_mc": 8, "n_reentry": 1, "search": search}
    assert summary(flat, min_advantage=0.1, min_confidence=0.3, **settings)["reentered"] <= 0.15


def test_without_thresholds_the_papers_search_takes_noise_for_a_critical_step(flat):
    assert summary(flat, n_mc=8, n_reentry=1)["reentered"] > 0.4


def test_a_stated_confidence_is_about_the_share_of_hits(one_jump):
    # On curves that are much as the prior has them.
    assert summary(one_jump, 2, n_mc=8, n_reentry=1)["calibration_error"] < 0.12
