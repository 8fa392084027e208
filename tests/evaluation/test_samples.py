"""What is on disk: cut-off lines, merging, and whose work is whose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.evaluation.samples import Sample, Task, Writer, deal, file_of, merge, missing, read_samples


def sample(index, number=0, response="r", benchmark="b"):
    return Sample(benchmark, index, number, response, "1", 1.0, 1.0, 3, "stop", "p", "s")


def test_a_sample_is_one_line_whatever_it_says(tmp_path):
    said = sample(0, response="a\nb\u2028c\x85d \ud83d é")
    with Writer(tmp_path, (0, 1)) as writer:
        writer.write(said)
    assert read_samples(file_of(tmp_path, "b", (0, 1))) == [said]


@pytest.mark.parametrize("end", ["", '{"benchmark": "b", "ind', '{"benchmark": "b"\n', "\0\0\0\n"])
def test_a_line_that_was_cut_off_is_dropped_and_does_not_spoil_the_next(tmp_path, end):
    path = file_of(tmp_path, "b", (0, 1))
    path.parent.mkdir()
    path.write_text(sample(0).to_line() + end)
    assert read_samples(path) == [sample(0)]
    with Writer(tmp_path, (0, 1)) as writer:
        writer.write(sample(1))
    assert read_samples(path) == [sample(0), sample(1)]


def test_a_complete_line_without_its_break_counts_as_cut_off(tmp_path):
    path = tmp_path / "b.jsonl"
    path.write_text(sample(0).to_line() + sample(1).to_line().strip())
    assert read_samples(path) == [sample(0)]


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "b.jsonl"
    path.write_text(sample(0).to_line() + '{"sco\n' + sample(1).to_line())
    with pytest.raises(ValueError, match="b.jsonl, line 2: not a sample"):
        read_samples(path)


def test_merging_keeps_each_sample_once_in_order(tmp_path):
    for shard, indices in (((0, 2), [2, 0]), ((1, 2), [1, 2]), ((0, 3), [3])):
        with Writer(tmp_path, shard) as writer:
            for index in indices:
                writer.write(sample(index))
    first = merge(tmp_path, "b")
    assert [s.index for s in first] == [0, 1, 2, 3]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["b.jsonl"]
    with Writer(tmp_path, (0, 1)) as writer:
        writer.write(sample(1, response="again"))
    assert merge(tmp_path, "b") == first == read_samples(file_of(tmp_path, "b"))


def test_a_benchmark_takes_in_only_its_own_files(tmp_path):
    with Writer(tmp_path, (0, 1)) as writer:
        writer.write(sample(0, benchmark="mmlu"))
        writer.write(sample(0, benchmark="mmlu_pro"))
    assert [s.benchmark for s in merge(tmp_path, "mmlu")] == ["mmlu"]
    assert [s.benchmark for s in merge(tmp_path, "mmlu_pro")] == ["mmlu_pro"]
    assert file_of(tmp_path, "reasoning_gym:sums").name == "reasoning_gym_sums.jsonl"


def test_what_is_missing():
    done = [Task("a", 0, 1), Task("b", 0, 0), Task("a", 0, 7), Task("c", 0, 0)]
    assert missing({"a": (2, 2), "b": (1, 1)}, done) == [Task("a", 0, 0), Task("a", 1, 0), Task("a", 1, 1)]


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_are_even_and_make_up_the_whole(count, shards):
    tasks = [Task("a", n // 4, n % 4) for n in range(count)]
    shares = [deal(tasks, shard, shards) for shard in range(shards)]
    assert sorted(task for share in shares for task in share) == tasks
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
