"""A build's folder and what it says of the pairs, from records made by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from verl_gpo.offline.build_report import check_records, check_run, left_out, summarise, write_run
from verl_gpo.offline.pairs import Selection, Tally, select
from verl_gpo.offline.records import Record, Rollout, State, file_of


def settings_of(out, drawn_with=None):
    return SimpleNamespace(
        out=Path(out),
        model="m",
        drawn_with=drawn_with or {"seed": 1},
        hash="s",
        prompts=["a", "b"],
        problems=["p0", "p1"],
        method="gpo",
        selection=Selection(),
        token_budget=0,
    )


def rollout(reward, *tokens, finish="stop"):
    return Rollout(tokens, reward, finish)


def record(index, states=(), problem=None, settings="s", reason="", failures=0):
    roots = () if reason else (rollout(1.0, 1, 2), rollout(0.0, 3))
    tokens = {} if reason else {"root": 3, "value": 10, "reentry": 4}
    problem = f"p{index}" if problem is None else problem
    return Record(index, 0, problem, (9,), roots, tuple(states), tokens, failures, settings, reason)


# One state of a prefix of two tokens: a right and a wrong continuation of three and of one token, and a repetition.
STATE = State(
    (1, 2), 1, 4, True, 0.5, 0.9, (rollout(1.0, 5, 6, 7), rollout(0.0, 8, finish="length"), rollout(1.0, 5, 6, 7))
)


def test_a_run_is_written_and_others_settings_are_refused(tmp_path):
    check_run(settings_of(tmp_path))
    write_run(settings_of(tmp_path))
    written = json.loads((tmp_path / "run.json").read_text())
    assert written == {"model": "m", "prompts": 2, "settings": {"seed": 1}}
    check_run(settings_of(tmp_path))
    with pytest.raises(ValueError, match=r"holds records of other settings: seed \(1 there, 2 here\)"):
        check_run(settings_of(tmp_path, {"seed": 2}))
    (tmp_path / "run.json").write_text("{ half")
    with pytest.raises(ValueError, match=r"run\.json: cannot be read"):
        check_run(settings_of(tmp_path))


def test_records_without_their_settings_are_refused(tmp_path):
    file_of(tmp_path, (0, 2)).write_text("")
    with pytest.raises(ValueError, match=r"has records, but no run\.json with their settings"):
        check_run(settings_of(tmp_path))


def test_records_of_other_data_are_refused(tmp_path):
    settings = settings_of(tmp_path)
    check_records(settings, [record(0), record(1), record(5, problem="of a longer file")])
    with pytest.raises(ValueError, match="row 1 was drawn with other settings"):
        check_records(settings, [record(1, settings="other")])
    with pytest.raises(ValueError, match=f"^--data: row 1 is not the one that --out={tmp_path} holds records of$"):
        check_records(settings, [record(1, problem="p0")])


def test_rows_that_are_left_out_with_their_reasons(tmp_path):
    records = [record(0), record(1, reason="too long"), record(7, reason="beyond the file")]
    assert left_out(settings_of(tmp_path), records) == {1: "too long"}


def test_the_summary_by_hand(tmp_path):
    records, tally = [record(0, [STATE], failures=2), record(1)], Tally()
    pairs = list(select(records, False, Selection(), tally))
    found = summarise(settings_of(tmp_path), records, pairs, tally)
    assert found["tokens"] == {"root": 6, "value": 20, "reentry": 8, "total": 34}
    assert (found["prompts"], found["visits"], found["root_reward"], found["failures"]) == (2, 2, 0.5, 2)
    assert (found["states"], found["states_with_pairs"], found["rollouts_at_states"]) == (1, 1, 3)
    assert (found["truncated"], found["repeated"], found["duplicate_pairs"]) == (1, 1, 0)
    assert (found["pairs"], found["pairs_per_prompt"], found["prompts_with_pairs"]) == (1, 0.5, 0.5)
    assert (found["prefix_tokens"], found["pair_tokens"]) == (2.0, 4) and found["token_budget"] is None


def test_the_summary_of_nothing(tmp_path):
    found = summarise(settings_of(tmp_path), [], [], Tally())
    assert found["root_reward"] is found["prefix_tokens"] is None
    assert found["pairs_per_prompt"] == found["prompts_with_pairs"] == 0.0
