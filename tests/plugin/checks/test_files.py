"""Files that a run reads are looked at before it starts; the error names the key and the file."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_gpo.config import ConfigError, GPOConfig
from verl_gpo.plugin.checks.backends import check_loggers
from verl_gpo.plugin.checks.files import check_files

GPO = GPOConfig()
ROWS = [{"prompt": "x", "extra_info": {"pivots": [1]}}] * 4


@pytest.fixture
def configured(merged, tmp_path):
    """Four rows for training and for validation; ``configured(*overrides)``."""
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return lambda *overrides: merged(f"data.train_files={file}", f"data.val_files={file}", *overrides)


def refused(config, gpo=GPO):
    with pytest.raises(ConfigError) as error:
        check_files(config, gpo)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_there_passes(configured, tmp_path):
    check_files(configured(), GPO)
    (tmp_path / "global_step_3").mkdir()
    check_files(configured(f"trainer.resume_from_path={tmp_path}/global_step_3"), GPO)


def test_a_path_below_the_home_folder_is_shown_in_full(configured, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    said = refused(configured("data.train_files=~/data/train.parquet"))
    assert said == f"data.train_files='~/data/train.parquet': no such file or folder ({tmp_path}/data/train.parquet)"


def test_a_file_that_is_no_parquet_file_is_named(configured, tmp_path):
    bad = tmp_path / "bad.parquet"
    bad.write_text("prompt,answer\n1,2\n")
    assert refused(configured(f"data.val_files={bad}")).startswith(
        f"data.val_files='{bad}': is not a readable parquet file ("
    )
    check_files(configured(f"data.val_files={bad}"), None)  # a run that is verl's own


def test_a_file_without_prompts_or_rows_is_named(configured, tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"question": ["x"]}), other)
    said = refused(configured(f"data.train_files={other}"))
    assert said == f"data.train_files='{other}': has no column prompt (data.prompt_key); it has question"
    check_files(
        configured(
            f"data.train_files=[{other}]",
            "data.prompt_key=question",
            "data.train_batch_size=1",
            f"data.val_files={other}",
        ),
        GPO,
    )
    pq.write_table(pa.Table.from_pylist(ROWS).slice(0, 0), other)
    assert refused(configured(f"data.train_files={other}")) == f"data.train_files='{other}': has no rows"


def test_a_batch_has_to_be_filled(configured):
    said = refused(configured("data.train_batch_size=5"))
    assert said == "data.train_batch_size=5: must be at most 4, the rows of data.train_files"
    check_files(configured("data.train_batch_size=5", "data.gen_batch_size=2"), GPO)


def test_a_checkpoint_that_is_not_there_is_named(configured):
    said = refused(configured("trainer.resume_from_path=/nowhere/global_step_3"))
    assert said == "trainer.resume_from_path='/nowhere/global_step_3': no such folder"


@pytest.mark.parametrize(
    ("logger", "said"),
    [
        ("[console,flie]", "trainer.logger='flie': must be one of console, file, wandb, "),
        ("clearml", "trainer.logger='clearml': clearml is not installed in this environment; console and file always"),
    ],
)
def test_a_logger_that_is_not_here_is_named(configured, monkeypatch, logger, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        check_loggers(configured(f"trainer.logger={logger}"))
    assert str(error.value).startswith(said)
    check_loggers(configured("trainer.logger=[console,file]"))
