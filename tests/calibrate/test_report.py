"""The ladder, the recommendation, and what is written."""

import io
import json
import math

import pytest
from rich.console import Console

from verl_gpo.calibrate.__main__ import main
from verl_gpo.calibrate.curves import simulated_cases
from verl_gpo.calibrate.report import RUNGS, ladder, measure, name, recommend, table, write
from verl_gpo.config import GPOConfig
from verl_gpo.core.search import SEARCHES
from verl_gpo.inference.settings import read_settings


def row(search, hit_rate, tokens, extra=0.0, **others):
    rest = {"hit_low": hit_rate - 0.1, "hit_high": hit_rate + 0.1, "regret": 0.1, "confidence": 0.5, "reentered": 1.0}
    return {
        "settings": {"search": search},
        "hit_rate": hit_rate,
        "tokens": tokens,
        "extra_tokens": extra,
        **rest,
        **others,
    }


def test_every_rung_is_a_valid_setting_and_costs_more_than_the_last():
    rungs = ladder(list(RUNGS), {"rule": "abs", "learn_from": "reuse"})
    # As they are measured: the searches do not all read what they share.
    configs = [GPOConfig.from_mapping(rung, refuse_unread=False) for rung in rungs]
    assert {config.search for config in configs} == set(RUNGS) and {config.rule for config in configs} == {"abs"}
    assert len({name(rung) for rung in rungs}) == len(rungs)
    uniform = [config.n_mc for config in configs if config.search == "uniform"]
    assert uniform == sorted(uniform) and len(uniform) > 2


def test_the_cheapest_that_is_good_enough_is_recommended():
    rows = [row("uniform", 0.9, 100.0), row("adaptive", 0.8, 30.0), row("propose", 0.8, 20.0, extra=40.0)]
    rows.append(row("random", 0.1, 0.0))
    assert recommend(rows, 0.7)["settings"]["search"] == "adaptive"  # propose costs 60 with what it draws afterwards
    assert recommend(rows, 0.85)["settings"]["search"] == "uniform"
    assert recommend(rows, 0.8)["settings"]["search"] == "adaptive"  # reaching it is enough
    assert recommend(rows, 0.95) is None and recommend([], 0.5) is None


def test_a_setting_is_named_as_one_would_override_it():
    assert name({"search": "adaptive", "n_mc": 4, "rule": "argmax"}) == "adaptive n_mc=4"
    assert name({"preset": "fast"}) == "preset=fast"


def test_arguments_are_read_as_yaml():
    read = read_settings(["n_mc=8", "algorithm.gpo.learn_from=all", "min_advantage=0.1", "max_steps=null"])
    assert read == {"n_mc": 8, "learn_from": "all", "min_advantage": 0.1, "max_steps": None}
    with pytest.raises(ValueError, match=r"^'n_mc': must be KEY=VALUE$"):
        read_settings(["n_mc"])


ABOUT = {"root_tokens": 200.0, "responses": 3, "steps": 4.0}


def written(tmp_path, rows, wanted):
    said = io.StringIO()
    write(tmp_path, rows, ABOUT, wanted, Console(file=said, width=200))
    return (tmp_path / "calibration.json").read_text(), said.getvalue()


def test_json_plot_and_table_are_written(tmp_path):
    rows = [row("uniform", 0.9, 100.0), row("adaptive", 0.8, 30.0)]
    text, said = written(tmp_path, rows, 0.7)
    record = json.loads(text)
    assert record["rows"] == rows and record["recommended"] == {"search": "adaptive"} and record["wanted"] == 0.7
    assert record["responses"] == 3
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert "algorithm.gpo.search=adaptive" in said and "0.70 or more" in said
    assert "0.50" in said  # 100 tokens are half of a group's 200


def test_the_recommended_setting_says_what_a_threshold_would_do(tmp_path):
    choices = [{"min_confidence": 0.0, "reentered": 1.0, "precision": 0.8}]
    choices.append({"min_confidence": 0.5, "reentered": 0.62, "precision": 0.97})
    rows = [row("uniform", 0.9, 100.0), row("adaptive", 0.8, 30.0, by_confidence=choices)]
    text, said = written(tmp_path, rows, 0.7)
    assert "min_confidence of adaptive" in said and "62%" in said and "97%" in said
    assert json.loads(text)["rows"][1]["by_confidence"] == choices
    assert "min_confidence of" not in written(tmp_path, rows, 0.85)[1]  # uniform's were not measured


def test_where_nothing_is_good_enough_the_best_is_shown_and_nothing_recommended(tmp_path):
    text, said = written(tmp_path, [row("uniform", 0.4, 100.0), row("adaptive", 0.5, 30.0)], 0.7)
    assert json.loads(text)["recommended"] is None
    assert "no setting reaches a hit rate of 0.70; the best is 0.50" in said and "search=adaptive" in said


def test_all_strategies_can_be_measured_and_written(tmp_path):
    cases = simulated_cases("one jump", 4, 2)
    rows = [measure(rung, cases, 1) for rung in ladder(list(RUNGS), {})]
    text, _ = written(tmp_path, rows, 0.7)
    assert len(json.loads(text)["rows"]) == len(rows) == table(rows, 40.0).row_count


def test_the_json_is_json_even_where_a_strategy_chose_nothing(tmp_path):
    # RFC 8259 knows no NaN, and readers other than Python's refuse it.
    text, _ = written(tmp_path, [row("none", 0.0, 0.0, regret=math.nan, confidence=math.nan)], 0.7)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)


ARGUMENTS = ["--model", "m", "--data", "d.parquet", "--reward", "r.py"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--responses", "0"], "verl_gpo: --responses=0: must be at least 1"),
        (["--response-length", "1"], "verl_gpo: --response-length=1: must be at least 2"),
        (["--hit-rate", "70"], "verl_gpo: --hit-rate=70.0: must be a number from 0 to 1"),
        (["--strategies", "uniform,best"], "verl_gpo: --strategies=best: must be of uniform, bisection"),
        (["n_mcs=4"], "verl_gpo: algorithm.gpo.n_mcs=4: no such key; did you mean n_mc?"),
        (["n_mc"], "verl_gpo: 'n_mc': must be KEY=VALUE"),
        (["rule=random"], "verl_gpo: algorithm.gpo.rule='random': "),  # there is no step that it should hit
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_loaded(tmp_path, capsys, arguments, message):
    assert main([*ARGUMENTS, "--out", str(tmp_path / "out"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_ladder_is_of_all_strategies_but_the_oracle():
    """``given`` reads the decisive steps from the data set, which no replay of recorded curves has."""
    assert set(RUNGS) == set(SEARCHES) - {"informative", "given"}
