"""The ladder, the recommendation, and what is written."""

import io
import json
import math

import pytest
from rich.console import Console

from verl_gpo.calibrate.__main__ import main
from verl_gpo.calibrate.curves import simulated_cases
from verl_gpo.calibrate.report import (
    MEASURED_PRESETS,
    RUNGS,
    best,
    ladder,
    measure,
    name,
    overrides,
    recommend,
    short_name,
    table,
    write,
)
from verl_gpo.config import GPOConfig
from verl_gpo.core.search import SEARCHES
from verl_gpo.inference.settings import read_settings

NAN = math.nan


def row(search, hit_rate, tokens, extra=0.0, alarms=0.1, rule="abs", **others):
    rest = {"hit_low": hit_rate - 0.1, "hit_high": hit_rate + 0.1, "regret": 0.1, "confidence": 0.5, "reentered": 1.0}
    rates = {"hit_rate": hit_rate, "false_alarms": alarms, "alarm_low": alarms - 0.05, "alarm_high": alarms + 0.05}
    cost = {"tokens": tokens, "extra_tokens": extra, "decisive": 0.5}
    return {"settings": {"search": search, **SMALL[search]}, "rule": rule, **rates, **cost, **rest, **others}


SMALL = {search: dict(rungs[0]) for search, rungs in RUNGS.items()}


def test_every_rung_is_a_valid_setting_and_costs_more_than_the_last():
    rungs = ladder(list(RUNGS), {"rule": "abs", "learn_from": "reuse"})
    # As they are measured: the searches do not all read what they share.
    configs = [GPOConfig.from_mapping(rung, refuse_unread=False) for rung in rungs]
    assert {config.search for config in configs} == set(RUNGS) and {config.rule for config in configs} == {"abs"}
    assert len({name(rung) for rung in rungs}) == len(rungs)
    uniform = [config.n_mc for config in configs if config.search == "uniform"]
    assert uniform == sorted(uniform) and len(uniform) > 2


def searched(rows, wanted, alarms=1.0):
    choice = recommend(rows, wanted, alarms)
    return choice and choice.row["settings"]["search"]


def test_the_cheapest_that_is_good_enough_is_recommended():
    rows = [row("uniform", 0.9, 100.0), row("adaptive", 0.8, 30.0), row("propose", 0.8, 20.0, extra=40.0)]
    rows.append(row("random", 0.1, 0.0))
    assert searched(rows, 0.7) == "adaptive"  # propose costs 60 with what it draws afterwards
    assert searched(rows, 0.85) == "uniform"
    assert searched(rows, 0.8) == "adaptive"  # reaching it is enough
    assert searched(rows, 0.95) is None and searched([], 0.5) is None


def test_a_setting_that_always_chooses_a_step_is_not_recommended_where_most_responses_have_none():
    rows = [row("uniform", 0.9, 10.0, alarms=1.0), row("adaptive", 0.8, 30.0, alarms=0.2)]
    assert searched(rows, 0.7, alarms=0.3) == "adaptive" and searched(rows, 0.7) == "uniform"
    assert best(rows).row["settings"]["search"] == "adaptive"  # .8 - .2 against .9 - 1
    unknown = [row("uniform", 0.9, 10.0, alarms=NAN)]  # all responses are decisive, so there are no false alarms
    assert searched(unknown, 0.7, alarms=0.0) == "uniform" and best(unknown).row is unknown[0]


def test_a_threshold_is_recommended_with_its_setting():
    thresholds = [
        {"min_confidence": 0.0, "hit_rate": 0.9, "false_alarms": 0.8, "precision": 0.5, "reentered": 1.0},
        {"min_confidence": 0.3, "hit_rate": 0.85, "false_alarms": 0.2, "precision": 0.7, "reentered": 0.6},
        {"min_confidence": 0.5, "hit_rate": 0.75, "false_alarms": 0.1, "precision": 0.8, "reentered": 0.5},
    ]
    rows = [row("adaptive", 0.9, 30.0, by_confidence=thresholds)]
    chosen = recommend(rows, 0.7, 0.3)
    assert (chosen.min_confidence, chosen.hit_rate) == (0.3, 0.85)  # of those that will do, the one that finds most
    assert overrides(chosen) == {"search": "adaptive", **SMALL["adaptive"], "min_confidence": 0.3}
    assert recommend(rows, 0.7, 0.1).min_confidence == 0.5 and recommend(rows, 0.88, 0.3) is None


def test_a_name_in_the_table_is_what_the_rungs_of_a_search_differ_in():
    assert short_name({"search": "adaptive", "n_mc": 4, "search_budget": 8, "rule": "abs"}) == "adaptive budget 8"
    assert short_name({"search": "uniform", "n_mc": 4}) == "uniform n_mc 4"
    assert short_name({"search": "random"}) == "random" and short_name({"preset": "fast"}) == "preset fast"


def test_a_setting_is_named_as_one_would_override_it():
    assert name({"search": "adaptive", "n_mc": 4, "rule": "argmax"}) == "adaptive n_mc=4"
    assert name({"preset": "fast"}) == "preset=fast"


def test_arguments_are_read_as_yaml():
    read = read_settings(["n_mc=8", "algorithm.gpo.learn_from=all", "min_advantage=0.1", "max_steps=null"])
    assert read == {"n_mc": 8, "learn_from": "all", "min_advantage": 0.1, "max_steps": None}
    with pytest.raises(ValueError, match=r"^'n_mc': must be KEY=VALUE$"):
        read_settings(["n_mc"])


ABOUT = {"root_tokens": 200.0, "responses": 30, "steps": 4.0}


def written(tmp_path, rows, wanted, alarms=0.3, width=100):
    said = io.StringIO()
    write(tmp_path, rows, ABOUT, wanted, alarms, Console(file=said, width=width))
    return (tmp_path / "calibration.json").read_text(), said.getvalue()


def test_json_plot_and_table_are_written(tmp_path):
    rows = [row("uniform", 0.9, 100.0), row("adaptive", 0.8, 30.0)]
    text, said = written(tmp_path, rows, 0.7)
    record = json.loads(text)
    assert record["rows"] == rows and record["wanted"] == 0.7
    assert record["recommended"] == {"abs": {"search": "adaptive", **SMALL["adaptive"]}}
    assert record["responses"] == 30
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert "algorithm.gpo.search=adaptive" in said and "at least 0.70 hits and at most 0.30 false alarms" in said
    assert "0.50" in said  # 100 tokens are half of a group's 200


def test_each_rule_has_its_table_and_its_recommendation(tmp_path):
    rows = [row("uniform", 0.9, 100.0, rule="argmax"), row("adaptive", 0.4, 30.0, decisive=0.05)]
    text, said = written(tmp_path, rows, 0.7)
    assert json.loads(text)["recommended"] == {"argmax": {"search": "uniform", "n_mc": 1}, "abs": None}
    assert "rule=argmax: 50% of the responses are decisive" in said
    assert "too few decisive responses" in said  # 5 % of 30


def test_the_widest_table_fits_a_terminal_of_100_columns():
    names = [{"search": "adaptive", **RUNGS["adaptive"][-1]}, {"search": "propose", **RUNGS["propose"][0]}]
    rows = [row("adaptive", 0.55, 1_234_567.0), row("propose", 0.55, 23.0)]
    said = io.StringIO()
    wide = [{**one, "settings": settings} for one, settings in zip(rows, names, strict=True)]
    Console(file=said, width=100).print(table(wide, 20_000.0, "rule=abs"))
    text = said.getvalue()
    assert max(map(len, text.splitlines())) <= 100 and "…" not in text
    assert "adaptive budget 128" in text and "0.45-0.65" in text and "1,234,567" in text and "stated" in text
    narrow = io.StringIO()
    Console(file=narrow, width=80).print(table(wide, 20_000.0, "rule=abs", intervals=False))
    assert max(map(len, narrow.getvalue().splitlines())) <= 80 and "…" not in narrow.getvalue()


def test_the_recommended_setting_says_what_a_threshold_would_do(tmp_path):
    choices = [{"min_confidence": 0.0, "reentered": 1.0, "precision": 0.8, "hit_rate": 0.9, "false_alarms": 0.6}]
    choices.append({"min_confidence": 0.5, "reentered": 0.62, "precision": 0.97, "hit_rate": 0.8, "false_alarms": 0.1})
    rows = [row("uniform", 0.9, 100.0), row("adaptive", 0.8, 30.0, by_confidence=choices)]
    text, said = written(tmp_path, rows, 0.7)
    assert "min_confidence of adaptive" in said and "62%" in said and "0.97" in said
    assert "algorithm.gpo.min_confidence=0.5" in said
    assert json.loads(text)["rows"][1]["by_confidence"] == choices
    assert "min_confidence of" not in written(tmp_path, rows, 0.85)[1]  # uniform's were not measured


def test_where_nothing_is_good_enough_the_best_is_shown_and_nothing_recommended(tmp_path):
    text, said = written(tmp_path, [row("uniform", 0.4, 100.0), row("adaptive", 0.5, 30.0)], 0.7)
    assert json.loads(text)["recommended"] == {"abs": None}
    assert "no setting has at least 0.70 hits" in said and "search=adaptive" in said


def test_all_searches_can_be_measured_and_written(tmp_path):
    cases = simulated_cases("one jump", 4, 2)
    rungs = [*ladder(list(RUNGS), {"rule": "abs"}), *({"preset": preset} for preset in MEASURED_PRESETS)]
    rows = [measure(rung, cases, 1, decisive=0.2, by_confidence=True) for rung in rungs]
    assert {row["rule"] for row in rows} == {"argmax", "abs"}  # the paper's own
    text, _ = written(tmp_path, rows, 0.7)
    assert len(json.loads(text)["rows"]) == len(rows) == table(rows, 40.0).row_count


def test_the_json_is_json_even_where_a_search_chose_nothing(tmp_path):
    # RFC 8259 knows no NaN, and readers other than Python's refuse it.
    text, _ = written(tmp_path, [row("none", NAN, 0.0, alarms=NAN, regret=NAN, confidence=NAN)], 0.7)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)


ARGUMENTS = ["--model", "m", "--data", "d.parquet", "--reward", "r.py"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--responses", "0"], "verl_gpo: --responses=0: must be at least 1"),
        (["--response-length", "1"], "verl_gpo: --response-length=1: must be at least 2"),
        (["--rules", "abs,best"], "verl_gpo: --rules=best: must be of argmax, abs, argmin"),
        (["--decisive", "nan"], "verl_gpo: --decisive=nan: must be a number of at least 0"),
        (["--false-alarms", "30"], "verl_gpo: --false-alarms=30.0: must be a number from 0 to 1"),
        (["--hit-rate", "70"], "verl_gpo: --hit-rate=70.0: must be a number from 0 to 1"),
        (["--searches", "uniform,best"], "verl_gpo: --searches=best: must be of uniform, bisection"),
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


def test_a_ladder_is_of_all_searches_but_the_oracle():
    """A replay has no steps that a data set names (``given``) and no tool calls; ``highest`` looks for no step."""
    assert set(RUNGS) == set(SEARCHES) - {"informative", "given", "highest", "tool_entropy"}
