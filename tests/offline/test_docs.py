"""What docs/offline.md states that the code knows better."""

import contextlib
import re

from tests.conftest import REPOSITORY
from verl_gpo.offline import build_settings, train_settings
from verl_gpo.offline.explore import METHODS
from verl_gpo.offline.pairs import RULES, TRUNCATED
from verl_gpo.offline.schema import DATASET_INFO, SCHEMAS

PAGE = (REPOSITORY / "docs" / "offline.md").read_text(encoding="utf-8")
#: Options of the commands that are only mentioned.
OTHERS = {
    "--benchmarks",
    "--data-dir",
    "--config_file",
    "--num_processes",
    "--data.dataset",
    "--data.prompt_key",
    "--data.chosen_key",
}
OTHERS |= {"--data.rejected_key", "--data.apply_chat_template"}


def test_options_exist(capsys):
    for command in (build_settings.parse_args, train_settings.parse_args):
        with contextlib.suppress(SystemExit):
            command(["--help"])
    known = capsys.readouterr().out
    for option in set(re.findall(r"(?<![\w-])(--[a-z][a-z_.-]*[a-z])", PAGE)) - OTHERS:
        assert option in known, option


def test_choices_and_files_are_all_named():
    for name in (*METHODS, *RULES, *(f"{file}.parquet" for file in SCHEMAS)):
        assert f"`{name}`" in PAGE, name
    assert all(name in PAGE for name in (*TRUNCATED, *DATASET_INFO))
    assert f"`--method {'|'.join(train_settings.METHODS)}`" in PAGE


def test_the_settings_of_simpo_are_those_that_are_stated():
    stated = dict(pair.split("=") for pair in re.search(r"`(loss_type=simpo[^`]*)`", PAGE)[1].split())
    settings = {key: value for key, value in train_settings.METHODS["simpo"].settings.items() if key in stated}
    assert {key: f"{value:g}" if isinstance(value, float) else value for key, value in settings.items()} == stated
