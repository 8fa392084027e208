"""TRL's trainers on exact token ids: what a batch holds."""

import shutil

import pytest
import torch

from tests.offline.preferences import PAIRS, SINGLES, learnt, settings_of
from tests.offline.tokenizers import tokenizer_of
from verl_gpo.offline import train as command


@pytest.mark.parametrize("method", ["dpo", "simpo", "orpo"])
def test_a_batch_holds_exactly_the_tokens_of_the_pairs(arguments, method):
    batch = next(iter(command.build_trainer(settings_of(arguments(method))).get_train_dataloader()))
    if method == "dpo":
        ids, attention, mask = batch["input_ids"], batch["attention_mask"], batch["completion_mask"]
    else:
        sides = ("chosen", "rejected")
        width = max(batch[f"{side}_input_ids"].shape[1] for side in sides)

        def together(name, pad):
            of = [
                torch.nn.functional.pad(batch[f"{s}_{name}"], (0, width - batch[f"{s}_{name}"].shape[1]), value=pad)
                for s in sides
            ]
            return torch.cat(of)

        ids, attention = together("input_ids", 0), together("attention_mask", 0)
        labels = together("labels", -100)
        mask = (labels != -100).long()
        assert (labels[mask == 1] == ids[mask == 1]).all()
    rows = [learnt(*row) for row in zip(ids, mask, strict=True)]
    assert all(len(context) + len(said) == a.sum() for (context, said), a in zip(rows, attention, strict=True))
    half = len(PAIRS)
    found = sorted(
        (chosen[0], chosen[1], rejected[1]) for chosen, rejected in zip(rows[:half], rows[half:], strict=True)
    )
    assert found == sorted((pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"]) for pair in PAIRS)
    assert all(a[0] == b[0] for a, b in zip(rows[:half], rows[half:], strict=True))


def test_a_batch_of_kto_holds_exactly_the_tokens_and_other_rows_for_its_kl_term(arguments):
    loader = command.build_trainer(settings_of(arguments("kto"))).get_train_dataloader()
    found = []
    for batch in loader:
        rows = [learnt(*row) for row in zip(batch["input_ids"], batch["completion_mask"], strict=True)]
        mismatched = [learnt(*row) for row in zip(batch["KL_input_ids"], batch["KL_completion_mask"], strict=True)]
        found += [(*row, bool(label)) for row, label in zip(rows, batch["label"], strict=True)]
        for number, (context, said) in enumerate(mismatched):
            assert context == rows[number][0] and said == rows[number - 1][1]
    assert sorted(found) == sorted((r["prompt_ids"], r["completion_ids"], r["label"]) for r in SINGLES)


@pytest.mark.parametrize("method", ["dpo", "simpo", "orpo", "kto"])
@pytest.mark.parametrize("shape", ["llama3", "r1_distill"])
def test_a_tokenizer_that_adds_a_begin_token_adds_none_to_a_batch(arguments, tiny_run, tmp_path, shape, method):
    folder = tmp_path / "model"
    shutil.copytree(tiny_run / "model", folder)
    for file in folder.glob("*token*"):
        file.unlink()
    tokenizer_of(shape).save_pretrained(folder)
    batch = next(iter(command.build_trainer(settings_of(arguments(method, model=folder))).get_train_dataloader()))
    if method in ("dpo", "kto"):
        rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    else:
        rows = zip(batch["chosen_input_ids"], batch["chosen_attention_mask"], strict=True)
    found = {tuple(token for token, kept in zip(*map(list, row), strict=True) if kept) for row in rows}
    given = {tuple(row["prompt_ids"] + row["completion_ids"]) for row in SINGLES}
    assert found and {tuple(map(int, row)) for row in found} <= given
