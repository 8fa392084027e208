"""The files: columns as TRL, LLaMA-Factory and OpenRLHF name them, and texts that fit the token ids."""

import json
from collections import Counter

import datasets
import pytest

from tests.core.conftest import byte_level, sentence_piece
from tests.offline.conftest import read_rows
from verl_gpo.inference.task import Prompt
from verl_gpo.offline import schema
from verl_gpo.offline.pairs import Pair, Selection, Tally, select, unpair
from verl_gpo.offline.records import Record, Rollout, State
from verl_gpo.offline.seam import Seam

#: Columns that each format needs, by the documentation of the tool that reads it.
TRL = {
    "pairs": {"prompt": str, "chosen": str, "rejected": str},
    "unpaired": {"prompt": str, "completion": str, "label": bool},
    "pairs_chat": {"prompt": list, "chosen": list, "rejected": list},
    "unpaired_chat": {"prompt": list, "completion": list, "label": bool},
}


@pytest.fixture
def folder(builder, tmp_path):
    assert builder() == 0
    return tmp_path / "run"


@pytest.mark.parametrize("name", TRL)
def test_columns_are_trls(folder, name):
    rows = datasets.load_dataset("parquet", data_files=str(folder / f"{name}.parquet"), split="train")
    assert len(rows)
    for column, kind in TRL[name].items():
        assert isinstance(rows[0][column], kind)
        if kind is list:
            assert set(rows[0][column][0]) == {"role", "content"}


def test_columns_are_those_that_the_others_are_told(folder):
    info = json.loads((folder / "dataset_info.json").read_text())
    # LLaMA-Factory: alpaca format, which takes text and for KTO a boolean.
    for entry in info.values():
        rows = read_rows(folder, entry["file_name"].removesuffix(".parquet"))
        kinds = {role: type(rows[0][column]) for role, column in entry["columns"].items()}
        wanted = {"prompt": str, "chosen": str, "rejected": str} if entry.get("ranking") else None
        assert kinds == (wanted or {"prompt": str, "response": str, "kto_tag": bool})
    # OpenRLHF: --data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected, no chat template; it
    # adds an end token, behind a space, to a text that does not end with one.
    assert all(row["chosen"].endswith("\x03") and row["rejected"].endswith("\x03") for row in read_rows(folder))


def test_messages_hold_whole_responses(folder):
    for row, chat in zip(read_rows(folder), read_rows(folder, "pairs_chat"), strict=True):
        question = chat["prompt"][0]["content"]
        for side in ("chosen", "rejected"):
            assert chat[side][0]["role"] == "assistant"
            assert f"<{question}>{chat[side][0]['content']}" == (row["prompt"] + row[side]).removesuffix("\x03")


class Tokenizer:
    """A trained tokenizer behind the interface of transformers."""

    bos_token_id = eos_token = None

    def __init__(self, core):
        self._core = core

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        raise ValueError("has none")

    def decode(self, token_ids, skip_special_tokens, clean_up_tokenization_spaces):
        return self._core.decode(token_ids, skip_special_tokens=skip_special_tokens)

    def __call__(self, text, add_special_tokens):
        return {"input_ids": self._core.encode(text, add_special_tokens=add_special_tokens).ids}


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_a_cut_inside_what_the_tokenizer_would_merge_is_told(make):
    core = make()
    text = "The quick brown fox jumps over the lazy dog."
    ids = core.encode(text).ids
    merged = next(token for token in ids[2:] if len(core.id_to_token(token)) > 2)
    letters = [core.token_to_id(letter) for letter in core.id_to_token(merged)]
    prompts = [Prompt(0, [{"role": "user", "content": "x"}], "fake", "", {})]

    def row(prefix, chosen):
        record = Record(0, 0, "p", tuple(ids[:2]), (), (), {}, 0, "s")
        state = State(tuple(prefix), 1, 2, True, None, None, ())
        pair = Pair(record, state, Rollout(tuple(chosen), 1.0, "stop"), Rollout(tuple(ids[2:]), 0.0, "stop"))
        return schema.pair_rows([pair], prompts, Seam(Tokenizer(core)), Counter())["pairs"][0]

    for cut in range(2, len(ids)):
        exact = row(ids[2:cut], ids[cut:])
        assert exact["prompt"] + exact["chosen"] == text  # no space is lost at the seam
    assert row([], ids[2:])["text_exact"]
    spelt = row([], letters)  # one letter a token: the policy may write so, the tokenizer would not
    assert (spelt["text_exact"], spelt["text_differs"]) == (False, "seam") and spelt["chosen_ids"] == tuple(letters)


def test_rows_name_where_they_come_from(folder):
    rows = read_rows(folder)
    assert {row["data_source"] for row in rows} == {"fake"}
    assert all(row["critical"] and row["steps"] >= row["step"] > 0 for row in rows if row["prefix_tokens"])


def test_unpaired_rows_are_written_as_labelled(folder):
    labels = {tuple(r["prompt_ids"] + r["completion_ids"]): r["label"] for r in read_rows(folder, "unpaired")}
    for row in read_rows(folder):
        assert labels[tuple(row["prompt_ids"] + row["chosen_ids"])] is True
        assert labels[tuple(row["prompt_ids"] + row["rejected_ids"])] is False
    assert unpair(select([], False, Selection(), Tally())) == []
