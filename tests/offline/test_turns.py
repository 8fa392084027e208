"""Pairs at turns: conversations with tools, as TRL's own code reads them, and what bears loss in its trainers."""

import json
from types import SimpleNamespace

import datasets
import pytest
from transformers import AutoTokenizer

from recipes.agents.prepare import row, write_parquet
from recipes.agents.task import AgentSpec, generate_problems
from tests.conftest import REPOSITORY
from tests.inference.walker import TOKENIZER, Walker
from tests.offline.conftest import read_report, read_rows
from verl_gpo.offline import build
from verl_gpo.offline.records import file_of, read_records
from verl_gpo.offline.trainers import Masked, _concatenated

pytest.importorskip("verl")
RECIPE = REPOSITORY / "recipes" / "agents"
SPEC = AgentSpec(n_moves=3, n_hard=1, n_free=1)
PROBLEMS = generate_problems(SPEC, 6, seed=0)


@pytest.fixture
def turns(tmp_path, monkeypatch):
    """``turns(*options)``: exit status of a build in which the engine plays the walk."""
    monkeypatch.setattr(build, "visible_devices", lambda: [])
    monkeypatch.setattr(build, "build_tokenizer", lambda settings: TOKENIZER)
    monkeypatch.setattr(build, "build_engine", lambda settings, seed: Walker(slip=0.5, seed=seed))
    model, data = tmp_path / "model", tmp_path / "data.parquet"
    model.mkdir()
    (model / "config.json").write_text("{}")
    TOKENIZER.save_pretrained(model)
    write_parquet([row(problem, "train", i, "tool_agent") for i, problem in enumerate(PROBLEMS)], data)
    fixed = ["--model", model, "--data", data, "--reward", RECIPE / "reward.py", "--out", tmp_path / "run"]
    tools = ["--tools", RECIPE / "config" / "tools.yaml", "--function-tools", RECIPE / "calculator.py"]

    def run(*options, settings=("splitter=turn",)):
        return build.main(list(map(str, [*fixed, *tools, "--response-length", 400, *options, *settings])))

    return run


def tokenized_by_trl(loaded):
    """(prompt, chosen, rejected) of each row as TRL's DPO trainer tokenizes them."""
    from trl import DPOTrainer

    args = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    trainer = SimpleNamespace(_tokenizer=TOKENIZER)
    columns = loaded.select_columns(["prompt", "chosen", "rejected", "tools"])
    rows = DPOTrainer._prepare_dataset(trainer, columns, TOKENIZER, args, "train")
    return [[tuple(row[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected")] for row in rows]


def test_pairs_continue_a_conversation_at_the_critical_turn(turns, tmp_path):
    assert turns(settings=("splitter=turn", "n_mc=12", "rule=abs")) == 0
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "run" / "pairs_chat.parquet"), split="train", cache_dir=str(tmp_path)
    )
    pairs = read_rows(tmp_path / "run")
    report = read_report(tmp_path / "run")
    assert len(loaded) == len(pairs) == report["pairs"] > 1 and report["chat_left_out"] == {}
    assert any(one["prefix_tokens"] for one in pairs) and all(one["critical"] for one in pairs)
    found = [one["step"] in PROBLEMS[one["index"]].hard_turns for one in pairs]
    assert sum(found) > len(found) / 2
    by_trl = tokenized_by_trl(loaded)
    for chat, text, theirs in zip(loaded, pairs, by_trl, strict=True):
        problem = PROBLEMS[text["index"]]
        assert text["step"] <= problem.hard_turns[0]  # behind it, all continuations end alike
        assert chat["prompt"][0] == {"role": "user", "content": problem.prompt}
        # The prompt is the conversation up to the state, and both sides are the rest of it.
        assert [one["role"] for one in chat["prompt"][1:]] == ["assistant", "tool"] * text["step"]
        for side, right in (("chosen", True), ("rejected", False)):
            said = chat[side]
            assert [one["role"] for one in said][:2] == ["assistant", "tool"] and said[-1]["role"] == "assistant"
            assert (said[-1]["content"] == f"The sum: {problem.answer}") == right
            called = [one["function"] for message in said for one in message.get("tool_calls") or ()]
            assert called[-1]["name"] == "add" and set(called[-1]["arguments"]) == {"a", "b"}
        assert [one["function"]["name"] for one in json.loads(chat["tools"])] == ["walk", "add"]
        # TRL's trainer tokenizes the messages as the policy and its tools wrote them; behind the last turn stands the
        # newline with which the template ends a message.
        ours = [tuple(text[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected")]
        newline = tuple(TOKENIZER.encode("\n"))
        assert theirs == [ours[0], ours[1] + newline, ours[2] + newline]


def test_what_tools_wrote_is_not_in_the_loss(turns, tmp_path):
    assert turns("--method", "plain") == 0
    pairs = read_rows(tmp_path / "run")
    assert pairs
    for one in pairs:
        for side in ("chosen", "rejected"):
            ids, written = one[f"{side}_ids"], one[f"{side}_written"]
            assert len(ids) == len(written) and 0 in written and written[-1] == 1
            foreign = TOKENIZER.decode([token for token, own in zip(ids, written, strict=True) if not own])
            own = TOKENIZER.decode([token for token, own in zip(ids, written, strict=True) if own])
            assert foreign.count("<tool_response>") == SPEC.n_moves + 1 and "tool_response" not in own
            labels = _concatenated(one)[f"{side}_labels"][len(one["prompt_ids"]) :]
            assert labels == [token if own else -100 for token, own in zip(ids, written, strict=True)]


def test_a_batch_of_trls_collator_is_masked():
    from trl.trainer.dpo_trainer import DataCollatorForPreference
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    rows = [
        {"prompt_ids": [1], "chosen_ids": [2, 3, 4], "chosen_written": [1, 0, 1], "rejected_ids": [5, 6]}
        | {"rejected_written": [0, 1]},
        {"prompt_ids": [1, 2], "chosen_ids": [3], "chosen_written": [1], "rejected_ids": [4, 5, 6, 7]}
        | {"rejected_written": [1, 0, 0, 1]},
    ]
    batch = Masked(DataCollatorForPreference(pad_token_id=0), ("chosen", "rejected"))(rows)
    assert batch["completion_mask"].tolist() == [
        [0, 1, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 1],
    ]
    short = Masked(DataCollatorForPreference(pad_token_id=0, max_length=3), ("chosen", "rejected"))(rows)
    assert short["completion_mask"].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    singles = [
        {"prompt_ids": [1], "completion_ids": [2, 3], "completion_written": [0, 1], "label": True}
        | {"KL_completion_ids": [4, 5], "KL_completion_written": [1, 0]},
        {"prompt_ids": [1, 2], "completion_ids": [3], "completion_written": [1], "label": False}
        | {"KL_completion_ids": [6], "KL_completion_written": [1]},
    ]
    batch = Masked(DataCollatorForUnpairedPreference(pad_token_id=0), ("completion",))(singles)
    assert batch["completion_mask"].tolist() == [[0, 0, 1], [0, 0, 1]]
    assert batch["KL_completion_mask"].tolist() == [[0, 1, 0], [0, 0, 1]]
    plain = [{name: value for name, value in one.items() if not name.endswith("_written")} for one in rows]
    assert (
        Masked(DataCollatorForPreference(pad_token_id=0), ("chosen", "rejected"))(plain)["completion_mask"].sum() == 10
    )


def test_unpaired_conversations_say_which_tokens_the_policy_wrote(turns, tmp_path):
    assert turns("--method", "plain") == 0
    singles = read_rows(tmp_path / "run", "unpaired")
    chats = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "run" / "unpaired_chat.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert {one["label"] for one in singles} == {True, False} and len(chats) == len(singles)
    for chat, text in zip(chats, singles, strict=True):
        assert len(text["completion_written"]) == len(text["completion_ids"])
        assert (chat["completion"][-1]["content"] == f"The sum: {PROBLEMS[text['index']].answer}") == chat["label"]


def test_a_state_within_a_turn_is_in_the_text_files_only(turns, tmp_path):
    cut = ("splitter=tokens", "splitter_option=4", "min_step_tokens=1")
    assert turns("--method", "random", settings=cut) == 0
    report = read_report(tmp_path / "run")
    assert report["chat_left_out"].get("the state lies within a turn", 0) > 0
    assert report["pairs"] == len(read_rows(tmp_path / "run"))


def test_records_keep_conversations(turns, tmp_path):
    assert turns("--method", "plain") == 0
    file = file_of(tmp_path / "run")
    lines = file.read_text()
    assert "".join(record.to_line() for record in read_records(file)) == lines
    root = read_records(file)[0].roots[0]
    assert root.messages[0]["tool_calls"][0]["function"]["name"] == "walk" and len(root.written) == len(root.token_ids)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == TOKENIZER.chat_template


def test_tools_that_cannot_be_used_end_in_one_line(turns, capsys):
    assert turns("--tools", "nowhere.yaml") == 1
    assert "--tools='nowhere.yaml': not a tool file of verl's" in capsys.readouterr().err
    assert turns("--function-tools", "nowhere.py") == 1
    assert "--function-tools='nowhere.py': no such file" in capsys.readouterr().err
    assert turns("--max-turns", "0") == 1
    assert "--max-turns=0: must be at least 1" in capsys.readouterr().err
