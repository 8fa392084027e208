"""Forecasts against trained rows, by hand."""

import math

import pytest

from scripts.forecast_check import PAGE, Pair, cost, halves, main, markdown, page, pairs, rank_correlation, regimes
from tests.experiments.samples import PAIR, a_run


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 40, 30])[0] == pytest.approx(0.8)
    rho, p, count = rank_correlation([1, math.nan, 3], [1, 2, 3])
    assert math.isnan(rho) and math.isnan(p) and count == 2


def test_the_table_by_hand():
    found = [
        Pair("tokens/rare8", "fast", 0.8, 1.0, 6.6, 2),
        Pair("tokens/rare8", "random", 1.2, -1.0, -2.9, 3),
        Pair("skills/skills12", "lean", 0.5, 2.0, 14.3, 4),
        Pair("protocol/rare8", "paper", math.nan, math.nan, -60.0, 3),
    ]
    first, second, third = markdown(found, [("protocol/rare8", 0.9, 40.9, 3), ("protocol/x", 0.2, 1, 1)]).split("\n\n")
    assert third.splitlines()[2:] == [
        "| protocol/rare8 | 0.90 | yes | +40.9 | 3 |",
        "| protocol/x | 0.20 | no | +1.0 | 1 |",
    ]
    assert first.splitlines()[2] == "| protocol/rare8 | `paper` | unknown | unknown | -60.0 | 3 |"
    assert first.splitlines()[3] == "| skills/skills12 | `lean` | 0.50 | +2.0 | +14.3 | 4 |"
    assert second.splitlines()[2].startswith("| all pairs | 3 | +1.00 |") and second.splitlines()[2].endswith(
        "3 of 3 |"
    )
    assert second.splitlines()[4] == "| rows added | 0 | unknown | unknown | 0 | unknown | unknown | 0 of 0 |"
    assert markdown([]) == "No forecast has been made yet."


def test_points_at_equal_tokens_meet_the_forecast_of_their_method():
    """At GRPO's 1000 tokens gpo_fast has .6 and GRPO .5 in each of three seeds."""
    lean = {"name": "lean", "ratio": {"value": 0.5}, "against_base": None}
    fast = {"name": "fast", "ratio": {"value": 1.25}, "against_base": {"value": -0.02}}
    forecasts = {"late12": {"methods": [lean, fast]}, "rare8": {"methods": [fast]}}
    (found,) = pairs(forecasts, PAIR)
    assert (found.place, found.method, found.ratio, found.seeds) == ("protocol/late12", "fast", 1.25, 3)
    assert found.points == pytest.approx(10) and found.step == pytest.approx(-2)
    assert pairs({}, PAIR) == []


def test_half_the_mini_batch_meets_what_it_gave():
    """GRPO ends at .5 in three seeds, with half its mini-batch at .7 in two of them."""
    half = [a_run(seed=seed, accuracy=0.7, mini_batches=2) for seed in range(2)]
    forecasts = {"late12": {"methods": [{"name": "grpo", "mini_batch": 0.75}]}}
    assert halves(forecasts, [*PAIR, *half]) == [("protocol/late12", 0.75, pytest.approx(20), 2)]
    assert halves({}, [*PAIR, *half]) == []


def test_cost():
    forecasts = {"a": {"seconds": 90.4, "cpu_seconds": 30.0}, "b": {"seconds": 40.6, "cpu_seconds": 44.7}}
    assert cost(forecasts).startswith("Each forecast took 30 to 45 CPU seconds, and 41 to 90 seconds")


def test_regimes_have_trained_rows():
    assert {"spread8", "rare8", "late12", "skills12"} <= set(regimes()) and "chain_sum" not in regimes()


def test_an_unknown_regime_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--regimes", "rare9"])
    assert "--regimes=rare9: must be of " in capsys.readouterr().err


def test_the_page_has_the_comparison_of_the_committed_results():
    assert page() == PAGE.read_text(encoding="utf-8"), "call python -m scripts.forecast_check page"
