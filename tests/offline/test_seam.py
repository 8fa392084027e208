"""What TRL's own code makes of the files, with tokenizers in the shape of four families: the files say so."""

from collections import Counter
from functools import partial
from types import SimpleNamespace

import datasets
import pytest

from tests.offline.tokenizers import SHAPES, tokenizer_of
from verl_gpo.inference.task import Prompt
from verl_gpo.offline import schema
from verl_gpo.offline.pairs import Pair, unpair
from verl_gpo.offline.records import Record, Rollout, State
from verl_gpo.offline.seam import DIFFERENCES, Seam

PROMPT = Prompt(0, [{"role": "user", "content": "Let x = 2. What is x + 1?"}], "fake", "3", {})
THOUGHT, OTHER, ANSWER = "Then y = x + 1.\n", "The quick brown fox.\n", "It's 3."
NAMES = list(SHAPES)


@pytest.fixture(scope="module")
def tokenizers():
    return {name: tokenizer_of(name) for name in SHAPES}


def response(name, thought, answer, template=None):
    """A whole response in the form of a family, without its end token."""
    if name == "qwen3" and not template:
        return f"<think>\n{thought}</think>\n\n{answer}"
    return f"{thought}</think>\n\n{answer}" if name == "r1_distill" else f"{thought}{answer}"


def pair_of(tokenizer, chosen, rejected, ends=(True, True), prefix="", template=None):
    """A pair of two texts behind a prefix; ``ends``: whether chosen and rejected have an end token."""
    encode = lambda text: tuple(tokenizer(text, add_special_tokens=False)["input_ids"])  # noqa: E731
    prompt_ids = tuple(PROMPT.token_ids(tokenizer, template))
    sides = [
        Rollout((*encode(text), *([tokenizer.eos_token_id] if end else [])), reward, "stop" if end else "length")
        for text, end, reward in zip((chosen, rejected), ends, (1.0, 0.0), strict=True)
    ]
    record = Record(0, 0, "p", prompt_ids, (), (), {}, 0, "s")
    state = State(encode(prefix), 1, 2, True, None, None, tuple(sides))
    return Pair(record, state, *sides)


def rows_of(tokenizer, pairs, template=None):
    seam, refused = Seam(tokenizer, template), Counter()
    rows = schema.pair_rows(pairs, [PROMPT], seam, refused) | schema.unpaired_rows(unpair(pairs), [PROMPT], seam)
    return rows, refused


def paired_by_trl(tokenizer, row):
    """(prompt, chosen, rejected) as each of TRL's trainers for pairs tokenizes a row of text or of messages."""
    from trl import DPOTrainer
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    columns = {name: row[name] for name in ("prompt", "chosen", "rejected")}
    self = SimpleNamespace(_tokenizer=tokenizer, is_encoder_decoder=False, processing_class=tokenizer, max_length=10**9)
    args = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    dataset = datasets.Dataset.from_list([columns])
    (found,) = DPOTrainer._prepare_dataset(self, dataset, tokenizer, args, "train")
    results = [tuple(tuple(found[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected"))]
    if isinstance(row["prompt"], str):
        for trainer in (CPOTrainer, ORPOTrainer):
            self.build_tokenized_answer = partial(trainer.build_tokenized_answer, self)
            found = trainer.tokenize_row(self, columns)
            size = found["chosen_labels"].count(-100)
            chosen, rejected = (tuple(found[f"{side}_input_ids"]) for side in ("chosen", "rejected"))
            results.append((chosen[:size], chosen[size:], rejected[found["rejected_labels"].count(-100) :]))
    return results


def single_by_trl(tokenizer, row):
    """(prompt, completion) as TRL's KTO trainer tokenizes a row."""
    from trl import KTOTrainer

    columns = {name: row[name] for name in ("prompt", "completion", "label")}
    self = SimpleNamespace(_tokenizer=tokenizer, calculate_KL=False)
    args = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    (found,) = KTOTrainer._prepare_dataset(self, datasets.Dataset.from_list([columns]), tokenizer, args, "train")
    return tuple(found["prompt_ids"]), tuple(found["completion_ids"])


def examples(name, tokenizer):
    """Pairs of whole responses, behind a prefix, cut off, and ended by nothing at all."""
    chosen, rejected = response(name, THOUGHT, ANSWER), response(name, OTHER, ANSWER)
    prefix = chosen[:12]
    return [
        pair_of(tokenizer, chosen, rejected),
        pair_of(tokenizer, chosen[12:], "other" + rejected, prefix=prefix),
        pair_of(tokenizer, chosen, rejected[:20], ends=(True, False)),
        pair_of(tokenizer, chosen, rejected, ends=(False, False)),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_text_is_exact_just_where_all_of_trls_trainers_find_the_policys_tokens(tokenizers, name):
    tokenizer = tokenizers[name]
    pairs = examples(name, tokenizer)
    rows, _ = rows_of(tokenizer, pairs)
    for pair, row in zip(pairs, rows["pairs"], strict=True):
        ours = (pair.prompt_ids, pair.chosen.token_ids, pair.rejected.token_ids)
        assert row["text_exact"] == all(found == ours for found in paired_by_trl(tokenizer, row))
        assert row["text_differs"] is None if row["text_exact"] else row["text_differs"] in DIFFERENCES
    for row in rows["unpaired"]:
        ours = (tuple(row["prompt_ids"]), tuple(row["completion_ids"]))
        if row["text_exact"]:
            assert single_by_trl(tokenizer, row) == ours
        elif row["text_differs"] in ("begin", "end"):
            assert single_by_trl(tokenizer, row) != ours


def test_the_reason_is_the_familys(tokenizers):
    found = {}
    for name in NAMES:
        rows, _ = rows_of(tokenizers[name], examples(name, tokenizers[name]))
        found[name] = [row["text_differs"] for row in rows["pairs"]]
    assert found["llama3"][0] == found["r1_distill"][0] == "begin"  # the second begin token
    assert found["qwen25"] == found["qwen3"] and found["qwen25"][0] is None
    assert found["qwen25"][2:] == ["end", "end"]  # the end token that a cut continuation gets


@pytest.mark.parametrize("name", ["llama3", "r1_distill"])
def test_trl_finds_two_begin_tokens_where_the_file_says_so(tokenizers, name):
    tokenizer = tokenizers[name]
    rows, _ = rows_of(tokenizer, examples(name, tokenizer)[:1])
    (row,) = rows["pairs"]
    begin = tokenizer.bos_token_id
    assert row["prompt_ids"][:2].count(begin) == 1 and paired_by_trl(tokenizer, row)[0][0][:2] == (begin, begin)


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_written_just_where_the_template_keeps_the_response(tokenizers, name):
    tokenizer = tokenizers[name]
    pair = pair_of(tokenizer, response(name, THOUGHT, ANSWER), response(name, OTHER, ANSWER))
    rows, refused = rows_of(tokenizer, [pair])
    if name == "r1_distill":  # the thinking is dropped, and both say the same
        sides = [[{"role": "assistant", "content": response(name, t, ANSWER)}] for t in (THOUGHT, OTHER)]
        naive = {"prompt": PROMPT.messages, "chosen": sides[0], "rejected": sides[1]}
        (_, chosen, rejected), *_ = paired_by_trl(tokenizer, naive)
        assert chosen == rejected
        assert rows["pairs_chat"] == rows["unpaired_chat"] == []
        assert refused == {"the chat template changes the response": 1}
        assert len(rows["pairs"]) == 1 and rows["pairs"][0]["chosen_ids"] != rows["pairs"][0]["rejected_ids"]
        return
    assert not refused and len(rows["pairs_chat"]) == 1 and len(rows["unpaired_chat"]) == 2
    (row,) = rows["pairs_chat"]
    ours = (pair.prompt_ids, pair.chosen.token_ids, pair.rejected.token_ids)
    (found,) = paired_by_trl(tokenizer, row)
    assert row["text_exact"] == (found == ours)
    # ChatML goes on with a line break behind the end token, which TRL trains on; Llama 3 ends with the end token.
    assert row["text_exact"] == (name == "llama3")
    assert found[0] == ours[0] and all(a[: len(b)] == b for a, b in zip(found[1:], ours[1:], strict=True))


REFUSED = {
    "stripped white space": ("llama3", "  It's 3.", "It's 4.", "changes the response"),
    "a thought put in": ("qwen3", "It's 3.", "It's 4.", "changes the response"),
    "a thought without an end": ("qwen3", "<think>\nIt", "<think>\nIs", "changes the response"),
    "a special token within": ("qwen25", "It's<|im_start|> 3.", "It's 4.", "contains a special token"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_response_that_messages_change_is_refused_and_is_in_the_other_file(tokenizers, case):
    name, chosen, rejected, said = REFUSED[case]
    rows, refused = rows_of(tokenizers[name], [pair_of(tokenizers[name], chosen, rejected)])
    assert rows["pairs_chat"] == [] and len(rows["pairs"]) == 1
    ((reason, count),) = refused.items()
    assert said in reason and count == 1


def test_chosen_and_rejected_that_differ_in_the_end_token_alone_are_no_messages(tokenizers):
    rows, refused = rows_of(tokenizers["qwen25"], [pair_of(tokenizers["qwen25"], ANSWER, ANSWER, ends=(True, False))])
    assert rows["pairs_chat"] == rows["unpaired_chat"] == [] and len(rows["unpaired"]) == 2
    assert refused == {"chosen and rejected are the same text": 1}


def test_arguments_of_the_template_reach_the_messages_and_their_file(tokenizers, tmp_path):
    tokenizer, template = tokenizers["qwen3"], {"enable_thinking": False}
    pair = pair_of(tokenizer, "It's 3.", "It's 4.", template=template)
    assert tokenizer.decode(pair.prompt_ids).endswith("<think>\n\n</think>\n\n")
    rows, refused = rows_of(tokenizer, [pair], template)
    assert not refused and len(rows["pairs_chat"]) == 1
    schema.write(tmp_path, rows, template)
    (row,) = datasets.Dataset.from_parquet(str(tmp_path / "pairs_chat.parquet"))
    assert row["chat_template_kwargs"] == template
    schema.write(tmp_path, rows, {})
    plain = datasets.Dataset.from_parquet(str(tmp_path / "pairs_chat.parquet"))
    assert "chat_template_kwargs" not in plain.column_names
