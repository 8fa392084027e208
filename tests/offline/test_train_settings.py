"""The command line of a training: errors before a model is loaded."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.offline.preferences import PAIRS, SINGLES, settings_of
from verl_gpo.offline import train as command
from verl_gpo.offline import train_settings
from verl_gpo.offline.train_settings import RESULT

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
