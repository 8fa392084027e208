"""The rows of a forecast by hand, what it recommends, and its width."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from tests.forecast.fakes import drawn
from verl_gpo.forecast.methods import method
from verl_gpo.forecast.report import Line, lines, recommend, start_of, table, write
from verl_gpo.forecast.signal import Interval


def line(name="grpo", **more):
    own = {"rollouts": 8, "groups": 48, "tokens": 400.0, "rows": 8.0, "seconds": 0.25, "batch_tokens": 1600.0}
    own |= {"mixed": Interval(0.5, 0.4, 0.6), "cosine": Interval(0.2, 0.1, 0.3), "aligned": 1.0, "mini_batch": 0.3}
    own |= {"needed": Interval(6400, 3733, 14400), "ratio": Interval(1.0, 1.0, 1.0)}
    return Line(name, **{**own, **more})


def test_rows_by_hand():
    """Two methods with three batches each; the second has twice the tokens and the same gradients."""
    vectors = np.array([[1.0, 1, 0], [1, -1, 0], [1, 0, 1]])
    both = np.concatenate([vectors, vectors])
    groups = [drawn("grpo", b, b, 10, mixed=(True, False)) for b in range(3)]
    groups += [drawn("lean", b, b, 10, mixed=(True,), rows=[]) for b in range(3) for _ in range(2)]
    successes = {"": np.array([0.0, 0.5]), "grpo": np.array([0.5, 1.0]), "lean": np.array([0.0, 0.5])}
    found = lines([method("grpo", 8), method("lean", 8)], groups, both @ both.T, {"grpo": 6.0}, 5, successes)
    base, lean = found
    # Between batches: 0, 1, 1, mean 2/3; squares 2: c = 1/3, so two parts noise: 2 x 10 tokens are needed.
    assert base.cosine.value == pytest.approx(1 / 3) and base.needed.value == pytest.approx(20)
    assert base.mini_batch == pytest.approx(50 / 70)  # five prompts of ten tokens
    assert (base.mixed.value, base.seconds, base.tokens, base.batch_tokens) == (0.5, 2.0, 10, 10)
    assert lean.needed.value == pytest.approx(40) and lean.ratio.value == pytest.approx(2)
    assert lean.groups == 6 and math.isnan(lean.seconds) and lean.mixed.value == 1.0
    assert base.gain.value == pytest.approx(0.5) and lean.gain.value == 0 and base.against_base is None
    assert lean.against_base.value == pytest.approx(-0.5)
    assert lines([method("grpo", 8)], groups[:3], vectors @ vectors.T, {}, 5, {})[0].gain is None


def test_another_method_is_recommended_only_where_it_is_surely_better():
    better = line("lean", ratio=Interval(0.5, 0.3, 0.8))
    assert recommend([line(), better], 64).startswith("lean: lean needs 0.50 [0.30, 0.80] of the tokens of GRPO")
    best = line("fast", ratio=Interval(0.4, 0.2, 0.9))
    assert recommend([line(), better, best], 64).startswith("fast")
    for refused in (
        dataclasses.replace(better, ratio=Interval(0.5, 0.2, 1.1)),
        dataclasses.replace(better, aligned=0.5),
        dataclasses.replace(better, against_base=Interval(-0.2, -0.3, -0.1)),
    ):
        assert recommend([line(), refused], 64).startswith("Plain GRPO: no method surely needs fewer tokens. The")


def test_half_the_mini_batch_where_signal_is_plenty():
    said = recommend([line(mini_batch=0.75)], 64)
    assert said.startswith(
        "Plain GRPO, half the mini-batch: two mini-batches of 64 prompts agree with a cosine of 0.75"
    )
    assert "half" not in recommend([line(mini_batch=0.2)], 64)
    better = line("lean", ratio=Interval(0.5, 0.3, 0.8))
    more = " Of those methods, lean needs 0.50 [0.30, 0.80] of the tokens of GRPO for the same signal."
    assert recommend([line(mini_batch=0.75), better], 64) == said + more
    nothing = line(cosine=Interval(math.nan, -1, 1))
    assert recommend([nothing], 64).startswith("No group of GRPO had two outcomes")


def test_the_table_fits_100_columns():
    out = io.StringIO()
    wide = line("grpo_twice_n", tokens=123456.0, seconds=1234.5, needed=Interval(99999, 1, math.inf))
    wide = dataclasses.replace(wide, ratio=Interval(10.55, 0.07, 1651.8), gain=Interval(-0.105, -0.2, 0.1))
    wide = dataclasses.replace(wide, cosine=Interval(-0.11, -0.22, 0.33))
    table([line(), wide], Console(file=out, width=100, color_system=None))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 100 and "…" not in text
    assert "grpo_twice_n" in text and "10.55 [0.07, >99]" in text and "-10.5±15.0" in text


def test_json_has_no_number_that_json_lacks(tmp_path):
    path = tmp_path / "forecast.json"
    write(path, {"model": "m"}, [line(needed=Interval(math.inf, 1.0, math.inf))], "advice")
    record = json.loads(path.read_text())
    assert record["methods"][0]["needed"] == {"value": None, "low": 1.0, "high": None}
    assert record["recommendation"] == "advice" and record["model"] == "m"


def test_the_start():
    found = start_of(np.array([1.0, 0.0, math.nan, 1.0]))
    assert found.value == pytest.approx(2 / 3) and found.low < found.value < found.high
    assert math.isnan(start_of(np.array([math.nan])).value)
