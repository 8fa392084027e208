"""The comparison that the tables of the search benchmark make, on rows made by hand."""

import pytest

from scripts.bench_search_tables import cheapest, equal_hits, equal_tokens, of, uniform_at


def row(search, tokens, hit_rate, **settings):
    return {
        "kind": "k",
        "steps": 16,
        "tokens": tokens,
        "hit_rate": hit_rate,
        "settings": {"search": search, **settings},
    }


ROWS = [
    row("uniform", 400, 0.6, n_mc=4),
    row("uniform", 800, 0.8, n_mc=8),
    row("uniform", 100, 0.2, n_mc=1),
    row("uniform", 800, 1.0, n_mc=8, value_model="curve"),
    row("adaptive", 250, 0.77),
    row("adaptive", 300, 0.78),
    row("adaptive", 900, 0.9),
]


@pytest.mark.parametrize(
    ("tokens", "hit_rate"), [(50, 0.2), (100, 0.2), (250, 0.4), (400, 0.6), (600, 0.7), (2000, 0.8)]
)
def test_uniform_between_two_settings_is_on_the_line_between_them(tokens, hit_rate):
    assert uniform_at(ROWS, tokens) == pytest.approx(hit_rate)


def test_equal_hits_takes_the_cheapest_within_two_points():
    # Uniform at n_mc=8 hits .8 for 800; adaptive's .78 for 300 is enough, its .77 for 250 is not.
    assert cheapest(of(ROWS, "adaptive"), 0.8 - 0.02)["tokens"] == 300
    assert equal_hits(ROWS, {"adaptive": lambda rows: of(rows, "adaptive")}).splitlines()[-1] == (
        "| k, 16 steps | 0.80 | 800 | 0.38 (0.78) |"
    )
    assert cheapest(of(ROWS, "adaptive"), 0.95) is None


def test_equal_tokens_gives_the_worst_and_the_best_of_a_ladder():
    # .77 - .4, .78 - (.2 + .4 * 2/3) = .78 - .4667, and .9 - .8 behind the ladder's end.
    assert equal_tokens(ROWS, {"adaptive": lambda rows: of(rows, "adaptive")}).splitlines()[-1] == (
        "| k, 16 steps | +10 to +37 |"
    )
