"""TRL's trainers on exact token ids, with a small untrained model."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.offline.tokenizers import tokenizer_of
from verl_gpo.offline import train as command
from verl_gpo.offline import train_settings
from verl_gpo.offline.train_settings import METHODS, RESULT, make_settings, parse_args

# Ids that no text gives: the end token (256) within, and one byte (226) of a character of three.
# Chosen and rejected of one pair are of different lengths; the second chosen one was cut off, and has no end token.
PAIRS = [
    {"prompt_ids": [97, 256, 226], "chosen_ids": [65, 130, 66, 256], "rejected_ids": [172, 256]},
    {"prompt_ids": [98, 10, 10, 99], "chosen_ids": [100, 101], "rejected_ids": [102, 256, 103, 104, 256]},
    {"prompt_ids": [32], "chosen_ids": [7, 256], "rejected_ids": [8, 256]},
    {"prompt_ids": [33, 34], "chosen_ids": [35, 256], "rejected_ids": [36, 37, 256]},
]
SINGLES = [
    {"prompt_ids": pair["prompt_ids"], "completion_ids": pair[f"{side}_ids"], "label": side == "chosen"}
    for pair in PAIRS
    for side in ("chosen", "rejected")
]
QUICK = ["max_steps=2", "per_device_train_batch_size=4", "gradient_checkpointing=false", "save_strategy=no"]
QUICK += ["logging_steps=1", "learning_rate=1e-3"]


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(PAIRS), folder / "pairs.parquet")
    pq.write_table(pa.Table.from_pylist(SINGLES), folder / "unpaired.parquet")
    return folder


@pytest.fixture
def arguments(tiny_run, pairs, tmp_path):
    def of(method, *settings, out="out", model=None):
        where = ["--model", model or tiny_run / "model", "--pairs", pairs, "--out", tmp_path / out]
        return [str(argument) for argument in ("--method", method, *where, *QUICK, *settings)]

    return of


def settings_of(arguments):
    return make_settings(parse_args(arguments))


def learnt(ids, mask):
    """Token ids of a row, split into context and what bears loss; padding is left out."""
    ids, mask = ids.tolist(), mask.tolist()
    first = mask.index(1)
    last = len(mask) - mask[::-1].index(1)
    assert all(mask[first:last])
    return ids[:first], ids[first:last]


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


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_saves_a_model(arguments, tiny_run, tmp_path, method):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert command.main(arguments(method)) == 0
    result = json.loads((tmp_path / "out" / RESULT).read_text())
    assert (result["method"], result["optimizer_steps"], result["batch_size"]) == (method, 2, 4)
    assert result["rows"] == (8 if method == "kto" else 4)
    before = AutoModelForCausalLM.from_pretrained(tiny_run / "model").state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(weight).all() for weight in after.values())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_run / "model").chat_template


def test_dpo_starts_at_the_reference(arguments, tmp_path):
    assert command.main(arguments("dpo", "beta=0.3")) == 0
    first = json.loads((tmp_path / "out" / RESULT).read_text())["log"][0]
    assert first["loss"] == pytest.approx(0.6931, abs=1e-4) and first["rewards/margins"] == pytest.approx(0, abs=1e-4)


def test_simpo_is_the_papers_loss(arguments):
    # Length-averaged log-probs, target margin, no likelihood term.
    trainer = command.build_trainer(settings_of(arguments("simpo", "beta=2.5", "simpo_gamma=1.5")))
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        loss, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
        means = {}
        for side in ("chosen", "rejected"):
            ids, labels = batch[f"{side}_input_ids"], batch[f"{side}_labels"][:, 1:]
            steps = torch.log_softmax(
                trainer.model(ids, attention_mask=batch[f"{side}_attention_mask"]).logits[:, :-1], -1
            )
            said = steps.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * (labels >= 0)
            means[side] = said.sum(1) / (labels >= 0).sum(1)
        wanted = -torch.nn.functional.logsigmoid(2.5 * (means["chosen"] - means["rejected"]) - 1.5).mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_lora_saves_the_adapter_and_merges_it(arguments, tiny_run, tmp_path):
    from transformers import AutoModelForCausalLM

    lora = ["use_peft=true", "lora_r=4", "lora_target_modules=[q_proj,v_proj]"]
    assert command.main([*arguments("dpo", *lora), "--merge"]) == 0
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 4
    before = AutoModelForCausalLM.from_pretrained(tiny_run / "model").state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "merged").state_dict()
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "v_proj"}


def test_a_training_that_broke_off_goes_on_from_its_checkpoint(arguments, tmp_path):
    assert command.main(arguments("dpo", "save_strategy=steps", "save_steps=1")) == 0
    assert (tmp_path / "out" / "checkpoint-2" / "config.json").is_file()
    (tmp_path / "out" / RESULT).unlink()
    assert command.main(arguments("dpo", "max_steps=3", "resume_from_checkpoint=true")) == 0
    log = json.loads((tmp_path / "out" / RESULT).read_text())["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3]


def test_what_is_too_long_is_cut_and_counted(arguments, capsys):
    settings = settings_of(arguments("dpo", "max_length=4"))
    assert (settings.dropped, settings.cut) == (1, 3)
    assert settings.columns["prompt_ids"] == [[97, 256, 226], [32], [33, 34]]
    assert settings.columns["chosen_ids"] == [[65], [7, 256], [35, 256]]
    assert settings_of(arguments("dpo")).args.max_length == 9  # nothing is cut unless asked for
    assert command.main(arguments("dpo", "max_length=4", "max_steps=1")) == 0
    assert "1 rows dropped, 3 continuations cut" in capsys.readouterr().err


def test_evaluation_rows_are_prepared_alike(arguments, pairs):
    settings = settings_of([*arguments("dpo", "eval_strategy=steps"), "--eval-pairs", str(pairs)])
    batch = next(iter(command.build_trainer(settings).get_eval_dataloader()))
    assert batch["input_ids"].shape[0] == 2 * len(PAIRS)


WRONG = [
    (["learning_rat=1e-5"], "learning_rat=1e-5: no such key; did you mean learning_rate?"),
    (["learning_rate=fast"], "learning_rate: invalid float value: 'fast'"),
    (["max_steps"], "'max_steps': must be KEY=VALUE"),
    (["output_dir=x"], "output_dir=x: give it as --out"),
    (["model_name_or_path=x"], "model_name_or_path=x: give it as --model"),
    (["max_length=1"], "max_length=1: no prompt is shorter; the longest row has 9 tokens"),
    (["resume_from_checkpoint=true"], "resume_from_checkpoint=true: --out="),
    (["resume_from_checkpoint=True"], "has no checkpoint; leave it out to start anew"),
    (["resume_from_checkpoint=nowhere"], "resume_from_checkpoint=nowhere: no trainer_state.json there; give true"),
    (["lora_target_modules=[q_proj"], "lora_target_modules=[q_proj: must be a list in brackets"),
    (["--merge"], "--merge: there is no adapter to merge"),
    (["--model", "./nowhere"], "--model=./nowhere: no such folder"),
    (["--pairs", "nowhere.parquet"], "--pairs=nowhere.parquet: nowhere.parquet is not a readable parquet file"),
    (["--eval-pairs", "nowhere"], "--eval-pairs=nowhere: nowhere is not a readable parquet file"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_errors_name_the_key_before_a_model_is_loaded(arguments, monkeypatch, capsys, options, said):
    def no_model(settings):
        raise AssertionError("must not be reached")

    monkeypatch.setattr(command, "build_trainer", no_model)
    assert command.main([*arguments("dpo"), *options]) == 1
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_a_folder_with_a_model_is_left_alone(arguments, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RESULT).write_text("{}")
    assert command.main(arguments("dpo")) == 1
    assert "holds a trained model" in capsys.readouterr().err


def test_pairs_of_another_kind_are_refused(arguments, pairs, capsys):
    assert command.main([*arguments("dpo"), "--pairs", str(pairs / "unpaired.parquet")]) == 1
    assert "has no column chosen_ids, rejected_ids" in capsys.readouterr().err
    pq.write_table(pa.Table.from_pylist(SINGLES[::2]), pairs / "unpaired.parquet")
    assert command.main(arguments("kto")) == 1
    assert "KTO needs desirable and undesirable rows" in capsys.readouterr().err
    pq.write_table(pa.Table.from_pylist(PAIRS).slice(0, 0), pairs / "pairs.parquet")
    assert command.main(arguments("dpo")) == 1
    assert "has no rows" in capsys.readouterr().err


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


KTO_REFUSES = [
    (["per_device_train_batch_size=1"], "per_device_train_batch_size=1: KTO needs at least 2"),
    (["train_sampling_strategy=random"], "train_sampling_strategy=random: KTO needs sequential"),
]


@pytest.mark.parametrize(("options", "said"), KTO_REFUSES)
def test_what_trls_kto_refuses_is_refused_before_a_model_is_loaded(arguments, monkeypatch, capsys, options, said):
    def no_model(settings):
        raise AssertionError("must not be reached")

    monkeypatch.setattr(command, "build_trainer", no_model)
    assert command.main(arguments("kto", *options)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"verl_gpo: {said}") and error.count("\n") == 1
    settings_of(arguments("kto", *options, "loss_type=apo_zero_unpaired"))  # it has no KL term
    settings_of(arguments("dpo", "per_device_train_batch_size=1"))


@pytest.mark.parametrize(("options", "said"), KTO_REFUSES)
def test_trl_does_refuse_it(arguments, monkeypatch, options, said):
    monkeypatch.setattr(train_settings, "_check_batches", lambda method, config: None)
    with pytest.raises(ValueError, match="KL"):
        command.build_trainer(settings_of(arguments("kto", *options)))


def test_an_incomplete_checkpoint_is_named_and_false_is_none(arguments, tmp_path, capsys):
    (tmp_path / "out" / "checkpoint-2").mkdir(parents=True)
    assert command.main(arguments("dpo", "resume_from_checkpoint=true")) == 1
    assert "checkpoint-2 is not complete, it has no trainer_state.json; remove it" in capsys.readouterr().err
    (tmp_path / "out" / "checkpoint-2" / "trainer_state.json").write_text("{}")
    found = str(tmp_path / "out" / "checkpoint-2")
    assert settings_of(arguments("dpo", "resume_from_checkpoint=true")).resume == found
    assert settings_of(arguments("dpo", f"resume_from_checkpoint={found}")).resume == found
    assert settings_of(arguments("dpo", "resume_from_checkpoint=false")).resume is None
