"""What the benchmark of kept states measures."""

import json

import pytest

from scripts.bench_agents import measure, share_of_a_step


def test_a_trajectory_of_eight_turns_keeps_little_but_its_environments():
    without, stored = measure(8, 0, repeats=1), measure(8, 100_000, repeats=1)
    assert without["kept_kb"] < 60 and without["cpu_ms"] < 100
    # The texts once, because a copy shares what cannot change, and eight dictionaries of 1000 entries.
    assert stored["kept_kb"] - without["kept_kb"] == pytest.approx(150 + 8 * 35, rel=0.3)


def test_the_share_of_a_step_by_hand(tmp_path):
    steps = [{"gpo/seconds/snapshot": 0.01, "timing_s/step": 2.0, "gpo/turns": 3.0}, {"timing_s/testing": 1.0}]
    steps.append({"gpo/seconds/snapshot": 0.03, "timing_s/step": 2.0, "gpo/turns": 5.0})
    file = tmp_path / "metrics.jsonl"
    file.write_text("\n".join(json.dumps({"step": number, "data": data}) for number, data in enumerate(steps)))
    found = share_of_a_step(file, 4)
    # 4 x (0.01 + 0.03) of 4 seconds.
    assert found["share"] == pytest.approx(0.04) and found["turns"] == 4.0 and found["steps"] == 2
