"""What the benchmark of kept states measures."""

import pytest

from scripts.bench_agents import measure


def test_a_trajectory_of_eight_turns_keeps_little_but_its_environments():
    without, stored = measure(8, 0, repeats=1), measure(8, 100_000, repeats=1)
    assert without["kept_kb"] < 60 and without["cpu_ms"] < 100
    # The texts once, because a copy shares what cannot change, and eight dictionaries of 1000 entries.
    assert stored["kept_kb"] - without["kept_kb"] == pytest.approx(150 + 8 * 35, rel=0.3)
