"""What a search says that it will draw, by hand: 5 steps, so four states between them."""

import pytest

from verl_gpo.config import GPOConfig
from verl_gpo.core.search import SEARCHES


def expected(search, steps=5, roots=8, **settings):
    return tuple(SEARCHES[search]().expected_draws(GPOConfig(search=search, **settings), steps, roots))


@pytest.mark.parametrize(
    ("search", "settings", "draws"),
    [
        ("uniform", {"n_mc": 3}, (12, 3, 0)),
        ("bisection", {"n_mc": 3}, (9, 3, 0)),  # log2 5, rounded up
        ("adaptive", {"n_mc": 2}, (8, 4, 0)),  # uniform's 2 * 4, less than 2 * 2 * 3; a group of n_reentry
        ("adaptive", {"search_budget": 20, "n_reentry": 6}, (20, 6, 0)),
        ("propose", {"n_reentry": 6}, (12, 6, 0)),  # two checks
        ("propose", {"n_reentry": 6, "learn_from": "split"}, (6, 3, 0)),  # of half a group each
        ("informative", {}, (0, 0, 0)),
        ("given", {}, (0, 0, 0)),
        ("random", {}, (0, 0, 0)),
        ("none", {}, (0, 0, 0)),
    ],
)
def test_draws_at_the_states_in_all_and_at_the_reset_state(search, settings, draws):
    assert expected(search, **settings) == draws


@pytest.mark.parametrize(("search", "at_prompt"), [("uniform", 4), ("bisection", 4), ("adaptive", 0), ("propose", 0)])
def test_a_single_root_has_its_prompt_valued_by_who_needs_it(search, at_prompt):
    assert expected(search, roots=1)[2] == at_prompt
    assert expected(search, roots=1, steps=1)[2] == 0


@pytest.mark.parametrize("search", SEARCHES)
def test_one_step_has_no_state_to_draw_at(search):
    assert expected(search, steps=1)[0] == 0
