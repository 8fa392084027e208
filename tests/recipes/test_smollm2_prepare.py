"""The preparation's cache, its limits and its errors, with a model that stands in for the real one."""

import json

import pyarrow.parquet as pq
import pytest

from recipes.prepared import TargetMissed
from recipes.smollm2 import prepare, supervise
from recipes.smollm2.tasks import task_named

pytest.importorskip("reasoning_gym")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder with a small model, and responses that are as often right as ``accuracy`` says."""
    import torch

    from recipes.arithmetic.model import build_model, build_tokenizer

    torch.manual_seed(0)
    folder = tmp_path / "base"
    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    accuracy = {"value": 0.25}
    monkeypatch.setattr(prepare, "install_missing", lambda: None)
    monkeypatch.setattr(prepare, "SUPERVISED_PROBLEMS", 40)

    def measure(*arguments, **settings):
        return supervise.Sampled(accuracy["value"], 0.5, 1.0, 5.0, 100.0, 128)

    monkeypatch.setattr(supervise, "measure", measure)
    return folder, accuracy


def call(folder, out, **settings):
    settings = {"model": str(folder), "train": 24, "test": 8, "steps": 1, "progress": False, **settings}
    return prepare.prepare(out, task_named("leg_counting"), **settings)


def test_a_folder_is_made_once(stand_in, tmp_path, monkeypatch):
    folder, _ = stand_in
    out = tmp_path / "data"
    card, cached = call(folder, out)
    assert not cached and card == json.loads((out / "card.json").read_text())
    assert card["sampled"]["accuracy"] == 0.25 and card["rounds"] == 1
    assert card["request"]["settings"]["max_animals"] == 6
    assert [pq.read_table(out / f"{name}.parquet").num_rows for name in ("train", "test")] == [24, 8]
    assert (out / "model" / "config.json").exists() and (out / "model" / "tokenizer.json").exists()
    monkeypatch.setattr(prepare, "_make", lambda *arguments: pytest.fail("it is there"))
    assert call(folder, out) == (card, True)
    with pytest.raises(FileExistsError, match="made with other settings"):
        call(folder, out, seed=1)


@pytest.mark.parametrize("accuracy, rounds", [(0.1, 3), (0.9, 1)])
def test_a_target_that_is_missed_leaves_nothing(stand_in, tmp_path, accuracy, rounds):
    folder, value = stand_in
    value["value"] = accuracy
    with pytest.raises(TargetMissed, match=f"sampled accuracy {accuracy}00 after {rounds} rounds"):
        call(folder, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_no_steps_leave_the_model_as_it_is(stand_in, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    folder, _ = stand_in
    call(folder, tmp_path / "data", steps=0)
    before, after = (AutoModelForCausalLM.from_pretrained(where) for where in (folder, tmp_path / "data" / "model"))
    assert all(torch.equal(weight, after.state_dict()[name]) for name, weight in before.state_dict().items())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--steps", "-1"], "steps=-1 is not allowed: it must be at least 0"),
        (["--room", "0"], "room=0 is not allowed"),
        (["--difficulty", "2"], "difficulty is not allowed for leg_counting"),
        (["--target-low", "0.6"], "target=(0.6, 0.5) is not allowed"),
    ],
)
def test_the_command_refuses_in_one_line(stand_in, tmp_path, capsys, arguments, message):
    assert prepare.main(["--task", "leg_counting", "--out", str(tmp_path / "data"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
