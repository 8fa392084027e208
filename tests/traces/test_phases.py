"""What workers' progress files add up to, and how it is said."""

import json
from collections import Counter

import pytest

from verl_gpo.traces.phases import PHASES, describe, read


def worker(folder, name, step, **counts):
    (folder / f"{name}.json").write_text(json.dumps({"step": step, **counts}))


def test_only_workers_of_the_latest_step_are_added_up(tmp_path):
    worker(tmp_path, "a", 3, rollout=2, done=1)
    worker(tmp_path, "b", 3, rollout=1, value=4)
    worker(tmp_path, "c", 2, done=8)
    assert read(tmp_path) == (3, Counter(rollout=3, value=4, done=1))


def test_an_empty_folder_and_one_that_is_not_there_have_no_step(tmp_path):
    assert read(tmp_path) == (-1, Counter()) == read(tmp_path / "gone")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"done": 2}', '{"step": "three"}', "null"])
def test_a_file_that_cannot_be_read_is_left_out(tmp_path, content):
    worker(tmp_path, "a", 1, done=2)
    (tmp_path / "b.json").write_text(content)
    assert read(tmp_path) == (1, Counter(done=2))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "roll out"),
        ({"rollout": 2}, "roll out 0/2"),
        ({"rollout": 1, "value": 2, "reentry": 1, "done": 4}, "roll out 7/8"),
        ({"value": 2, "reentry": 1, "done": 4}, "value 5/7"),
        ({"reentry": 1, "done": 4}, "re-enter 4/5"),
        ({"done": 5}, "train"),
    ],
)
def test_the_prompts_that_are_furthest_behind_are_named(counts, said):
    assert set(counts) <= set(PHASES)
    assert describe(Counter(counts)) == said
