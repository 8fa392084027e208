"""Records on disk: read back, cut off, merged, and used within a budget."""

import pytest

from verl_gpo.offline.records import Record, Rollout, State, Task, Writer, file_of, merge, read_records, within_budget


def record(index, visit=0, cost=10):
    rollout = Rollout((7, 8), 1.0, "stop")
    state = State((1, 2), 1, 3, True, None, 0.5, (rollout, Rollout((9,), 0.25, "length")))
    return Record(index, visit, "p", (3, 4), (rollout,), (state,), {"root": cost, "value": 0, "reentry": 0}, 1, "s")


def test_a_record_survives_the_file(tmp_path):
    with Writer(tmp_path, (0, 1)) as writer:
        writer.write(record(3))
    assert read_records(file_of(tmp_path, (0, 1))) == [record(3)]


def test_a_part_that_was_cut_off_goes_on(tmp_path):
    path = file_of(tmp_path, (0, 1))
    path.write_text(record(0).to_line() + record(1).to_line()[:-9])
    with Writer(tmp_path, (0, 1)) as writer:
        writer.write(record(2))
    assert [r.index for r in read_records(path)] == [0, 2]


def test_a_line_that_is_no_record_is_named(tmp_path):
    file_of(tmp_path).write_text("{}\n" + record(0).to_line())
    with pytest.raises(ValueError, match="line 1: not a record"):
        read_records(file_of(tmp_path))


def test_parts_are_merged_once_in_the_order_of_their_tasks(tmp_path):
    file_of(tmp_path).write_text(record(1).to_line())
    file_of(tmp_path, (1, 2)).write_text(record(0, visit=1).to_line() + record(2).to_line())
    file_of(tmp_path, (0, 2)).write_text(record(0).to_line() + record(1, cost=99).to_line())
    merged = merge(tmp_path)
    assert [r.task for r in merged] == [Task(0, 0), Task(0, 1), Task(0, 2), Task(1, 0)]
    assert merged[1].cost == 10  # what the folder's own file has comes first
    assert merge(tmp_path) == merged == read_records(file_of(tmp_path))
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["records.jsonl"]


def test_the_first_records_are_used_within_a_budget():
    records = [record(0, cost=10), record(1, cost=30), record(2, cost=5)]
    assert within_budget(records, 0) == records
    assert within_budget(records, 44) == records[:2]  # not the third, though it alone would fit behind the first
    assert within_budget(records, 15) == records[:1]
    assert within_budget(records, 9) == []
