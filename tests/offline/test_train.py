"""TRL's trainers on exact token ids, with a small untrained model."""

import json

import pytest
import torch

from tests.offline.preferences import PAIRS, settings_of
from verl_gpo.offline import train as command
from verl_gpo.offline.train_settings import METHODS, RESULT


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
