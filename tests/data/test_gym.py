"""reasoning-gym: the error without the package, a stand-in for it, and the real one where it is installed."""

import importlib.util
import json
import sys
import types

import pytest

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from verl_gpo.data import gym  # noqa: E402
from verl_gpo.data.load import LoadError  # noqa: E402
from verl_gpo.data.prepare import PrepareError, Request, main, prepare  # noqa: E402
from verl_gpo.data.registry import DataSet  # noqa: E402
from verl_gpo.graders import compute_score  # noqa: E402

HERE = importlib.util.find_spec("reasoning_gym") is not None


def test_a_missing_package_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    assert main(["--dataset", "reasoning_gym:leg_counting", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "error: --dataset reasoning_gym:TASK needs the package: pip install reasoning-gym\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stand_in(monkeypatch):
    """A package of the same interface, with one task: add two numbers."""

    def create_dataset(name, size, seed):
        if name == "broken":
            raise AssertionError("Must specify at least one dataset")
        numbers = ((seed * 1000 + i) % 7 for i in range(size))
        return [{"question": f"{n}+1?", "answer": str(n + 1), "metadata": {"difficulty": (1, 2)}} for n in numbers]

    package, factory = types.ModuleType("reasoning_gym"), types.ModuleType("reasoning_gym.factory")
    package.create_dataset, package.__version__ = create_dataset, "0"
    factory.DATASETS = {"adding": None, "broken": None}
    monkeypatch.setitem(sys.modules, "reasoning_gym", package)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", factory)


def test_problems_are_generated_and_the_test_set_is_kept_apart(stand_in, tmp_path):
    request = Request("reasoning_gym:adding", size=20, test_size=2)
    manifest, cached = prepare(request, tmp_path / "out", progress=False)
    train, test = (pq.read_table(tmp_path / "out" / f"{split}.parquet").to_pylist() for split in ("train", "test"))
    # Seven questions; the test set's two are not trained on, and each of the other five only once.
    assert (len(train), len(test), cached) == (5, 2, False)
    assert not {row["extra_info"]["question"] for row in train} & {row["extra_info"]["question"] for row in test}
    assert manifest["splits"]["train"]["held_out"] == {"test": 2}
    assert train[0]["data_source"] == "reasoning_gym/adding" and train[0]["extra_info"]["task"] == "adding"
    entry = json.loads(json.loads(train[0]["extra_info"]["metadata"])["entry"])
    assert entry["answer"] == train[0]["reward_model"]["ground_truth"]
    assert prepare(request, tmp_path / "out", progress=False)[1] is True
    assert (
        prepare(Request("reasoning_gym:adding", size=20, test_size=2, seed=1), tmp_path / "out", progress=False)[1]
        is False
    )


def test_wrong_tasks_and_sizes(stand_in, tmp_path):
    with pytest.raises(LoadError, match="reasoning_gym:nosuch: no such task; known are adding, broken"):
        Request("reasoning_gym:nosuch")
    with pytest.raises(PrepareError, match="--size -1: must be an integer of at least 0"):
        Request("reasoning_gym:adding", size=-1)
    with pytest.raises(LoadError, match="cannot be generated with its default settings: Must specify"):
        prepare(Request("reasoning_gym:broken"), tmp_path / "out", progress=False)
    with pytest.raises(PrepareError, match="no such data set"):
        Request("reasoning_gym")


def test_no_split_or_seed_repeats_the_entries_of_another(monkeypatch):
    """As the package does it: entry i of a data set is made from its seed + i."""
    package = types.ModuleType("reasoning_gym")
    package.create_dataset = lambda name, size, seed: [{"question": str(seed + i)} for i in range(size)]
    monkeypatch.setitem(sys.modules, "reasoning_gym", package)
    data = DataSet(
        *(
            "reasoning_gym:adding",
            "x",
            "x",
            {"train": ("train", 50), "test": ("test", 50)},
            gym.read,
            "tagged",
            "x",
            "x",
        ),
        configs=("adding",),
    )
    questions = [row["question"] for seed in range(3) for split in data.splits for row in gym.rows(data, split, seed)]
    assert len(set(questions)) == len(questions) == 300


@pytest.mark.skipif(not HERE, reason="reasoning-gym is not installed")
@pytest.mark.parametrize("task", ["leg_counting", "countdown", "propositional_logic", "n_queens"])
def test_the_real_package(task, tmp_path):
    entry = gym.entry(task, 3, 0)
    for row in gym.rows(entry, "train", 0):
        example = gym.read(row)
        extra = {"task": task, "metadata": json.dumps(dict(example.metadata))}
        if example.answer:
            assert (
                compute_score(entry.source, f"<answer>{example.answer}</answer>", example.answer, extra)["acc"] == 1.0
            )
        assert compute_score(entry.source, "<answer>zebra</answer>", example.answer, extra)["acc"] == 0.0
    if task == "countdown":  # another way to the same number is right by the package's scorer only
        expression = json.loads(example.metadata["entry"])["metadata"]["expression"]
        assert compute_score(entry.source, f"<answer>({expression})</answer>", example.answer, extra)["acc"] == 1.0
