"""Reading traces: what is broken, what is new, a sample, and the frame's numbers by hand."""

import gzip
import logging

import pandas
import pytest

from tests.report.arithmetic import records, truth
from verl_gpo.traces.reader import (
    count_traces,
    read_traces,
    sample_traces,
    trace_files,
    trace_frame,
    trajectories,
)
from verl_gpo.traces.record import SCHEMA_VERSION
from verl_gpo.traces.writer import TraceWriter, json_line


def write(folder, made, name="a.000000"):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl.gz").write_bytes(b"".join(gzip.compress(json_line(record)) for record in made))
    return folder


def small(number):
    return {"schema": SCHEMA_VERSION, "number": number}


def test_a_folder_without_traces_is_an_error_that_names_it(tmp_path):
    for path in (tmp_path, tmp_path / "missing", tmp_path / "a.jsonl.gz"):
        with pytest.raises(FileNotFoundError, match="no traces; they are files"):
            trace_files(path)


def test_records_of_several_files_come_file_by_file(tmp_path):
    write(tmp_path, map(small, (2, 3)), "b.000000")
    write(tmp_path, map(small, (0, 1)), "a.000001")
    assert [record["number"] for record in read_traces(tmp_path)] == [0, 1, 2, 3]
    assert [record["number"] for record in read_traces(tmp_path / "b.000000.jsonl.gz")] == [2, 3]


def test_a_broken_file_ends_where_it_is_broken_and_says_so(tmp_path, caplog):
    write(tmp_path, map(small, range(3)))
    file = tmp_path / "a.000000.jsonl.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3] + b"\x00" * 20)
    write(tmp_path, [small(9)], "b.000000")
    with caplog.at_level(logging.WARNING):
        assert [record["number"] for record in read_traces(tmp_path)] == [0, 9]
    assert "a.000000.jsonl.gz: unreadable from here on" in caplog.text


def test_an_empty_file_holds_nothing(tmp_path):
    (tmp_path / "a.000000.jsonl.gz").write_bytes(b"")
    assert list(read_traces(tmp_path)) == [] and count_traces(tmp_path) == 0


def test_a_later_schema_is_refused_and_a_later_field_is_kept(tmp_path):
    write(tmp_path, [{"schema": SCHEMA_VERSION, "later": 1}])
    assert next(read_traces(tmp_path))["later"] == 1
    write(tmp_path, [{"schema": SCHEMA_VERSION + 1}])
    with pytest.raises(ValueError, match=rf"schema {SCHEMA_VERSION + 1}; this verl_gpo reads up to {SCHEMA_VERSION}"):
        list(read_traces(tmp_path))


@pytest.mark.parametrize("line", [b"[1]\n", b"{}\n", b"no json\n"])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    (tmp_path / "a.000000.jsonl.gz").write_bytes(gzip.compress(line))
    with pytest.raises(ValueError, match=r"a\.000000\.jsonl\.gz: not a trace record"):
        list(read_traces(tmp_path))


def test_a_sample_is_spread_evenly(tmp_path):
    write(tmp_path, map(small, range(10)))
    numbers = lambda limit: [record["number"] for record in sample_traces(tmp_path, limit)[0]]  # noqa: E731
    assert numbers(5) == [0, 2, 4, 6, 8] and numbers(3) == [0, 3, 6]
    assert numbers(0) == numbers(10) == numbers(99) == list(range(10))
    assert sample_traces(tmp_path, 3)[1] == 10


def continuation(reward, learnt):
    return {"text": "", "reward": reward, "tokens": 1, "valued": not learnt, "learnt": learnt}


def prompt(global_step, anchors, **about):
    usage = {"requests": 1, "tokens": 10, "context_tokens": 0, "cached_tokens": 0, "seconds": 1.5}
    return {
        "schema": SCHEMA_VERSION,
        "uid": "u",
        "global_step": global_step,
        "prompt": "p",
        "usage": {"value": usage, "reentry": {**usage, "tokens": 4, "seconds": 0.5}},
        "anchors": anchors,
        **about,
    }


def anchor(reward, critical, drawn=(), steps=5):
    states = [{"value": None, "continuations": []} for _ in range(steps + 1)]
    states[1]["continuations"] = list(drawn)
    step = {"text": "", "start": 0, "end": 1, "advantage": None}
    return {"anchor": 0, "reward": reward, "steps": [step] * steps, "states": states, "critical": critical}


FOUND = {"step": 1, "advantage": 0.5, "confidence": 0.75}


def test_the_frame_by_hand(tmp_path):
    drawn = [continuation(1.0, True), continuation(0.0, True), continuation(0.0, False), continuation(1.0, True)]
    made = [
        prompt(2, [anchor(0.0, FOUND, drawn)], true_critical=1),
        prompt(1, [anchor(1.0, None)], true_critical=3),
        prompt(3, []),
        prompt(4, [anchor(0.4, None)], solved_reward=0.4, true_critical=None),
    ]
    frame = trace_frame(write(tmp_path / "t", made))
    assert list(frame["global_step"]) == [1, 2, 4]  # a skipped prompt has no trajectory
    assert list(frame["solved"]) == [True, False, True]
    assert list(frame["reentered"]) == [False, True, False]
    found = frame.iloc[1]
    assert (found.n_steps, found.critical_step, found.position) == (5, 1, 0.25)
    assert (found.critical_advantage, found.confidence) == (0.5, 0.75)
    assert found.reentry_reward == pytest.approx(2 / 3)
    assert (found.value_tokens, found.reentry_tokens, found.seconds) == (10, 4, 2.0)
    assert pandas.isna(frame.iloc[0].critical_step) and pandas.isna(frame.iloc[0].reentry_reward)
    assert list(frame["hit"]) == [0.0, 1.0, 1.0]  # to abstain where there is no critical step is right


def test_where_nobody_knows_there_is_no_hit(tmp_path):
    assert trace_frame(write(tmp_path, [prompt(1, [anchor(0.0, FOUND)])]))["hit"].isna().all()


def test_the_frame_of_real_searches(tmp_path):
    made = records(16)
    writer = TraceWriter(tmp_path, "w")
    for record in made:
        writer.write(record)
    writer.close()
    frame = trace_frame(tmp_path)
    assert len(frame) == 16 and sorted(frame["uid"]) == sorted(record["uid"] for record in made)
    assert frame["critical_step"].notna().any() and frame["value_tokens"].gt(0).all()
    by_step = frame.groupby("global_step")["solved"].mean()
    assert list(by_step.index) == [1, 2]


def test_what_the_task_knows_joins_a_trajectory():
    row = trajectories(records(1)[0])[0]
    known = truth(row)
    assert len(known["true_values"]) == len(row["steps"]) + 1


def of_a_start(started, step, uid):
    return {"schema": SCHEMA_VERSION, "started": started, "global_step": step, "uid": uid}


def test_steps_that_a_resumed_training_did_again_count_once(tmp_path):
    # Killed in step 3 of a training whose checkpoint is that of step 2; then killed in step 4 without a new one.
    first = [of_a_start(10.0, step, f"a{step}{worker}") for step in (1, 2, 3) for worker in "xy"]
    second = [of_a_start(20.0, step, f"b{step}{worker}") for step in (3, 4) for worker in "xy"]
    third = [of_a_start(30.0, step, f"c{step}x") for step in (3,)]
    write(tmp_path, first[::2], "worker-0.000000")
    write(tmp_path, first[1::2], "worker-1.000000")
    write(tmp_path, second[::2], "worker-0.000001")
    write(tmp_path, second[1::2], "worker-1.000001")
    write(tmp_path, third, "worker-0.000002")
    assert [record["uid"] for record in read_traces(tmp_path)] == ["a1x", "a2x", "c3x", "a1y", "a2y"]
    assert count_traces(tmp_path) == 5
    records, total = sample_traces(tmp_path, 2)
    assert [record["uid"] for record in records] == ["a1x", "c3x"] and total == 5


def test_a_prompt_that_was_under_way_at_the_checkpoint_counts_once(tmp_path):
    write(tmp_path, [of_a_start(10.0, 2, "p"), of_a_start(10.0, 2, "q")], "worker-0.000000")
    write(tmp_path, [of_a_start(20.0, 3, "q")], "worker-0.000001")
    assert [(record["uid"], record["global_step"]) for record in read_traces(tmp_path)] == [("p", 2), ("q", 3)]


def test_a_training_that_was_started_once_is_read_as_it_is(tmp_path):
    twice = [of_a_start(10.0, 1, "p"), of_a_start(10.0, 1, "p")]
    write(tmp_path, twice)
    assert list(read_traces(tmp_path)) == twice
