"""Errors come before the engine, and name the option or key."""

import json

import pytest

from tests.inference.rows import BAD, write_bad
from tests.offline.conftest import read_rows
from tests.offline.fakes import FakeEngine


def read_run(folder):
    return json.loads((folder / "run.json").read_text())


WRONG = [
    (["--roots", "0"], "--roots=0: must be at least 1"),
    (["--roots", "1", "--method", "plain"], "--roots=1: must be at least 2"),
    (["--response-length", "1"], "--response-length=1: must be at least 2"),
    (["--visits", "0"], "--visits=0"),
    (["--concurrency", "0"], "--concurrency=0"),
    (["--max-pairs", "-1"], "--max-pairs=-1: must be at least 0"),
    (["--min-gap", "-1"], "--min-gap=-1.0: must be 0 or more"),
    (["--temperature", "0"], "--temperature=0.0: must be above 0"),
    (["--top-p", "0"], "--top-p=0.0: must be above 0 and at most 1"),
    (["--token-budget", "0"], "--token-budget=0: must be a number of at least 1"),
    (["--token-budget", "nowhere"], "--token-budget=nowhere: must be a number of at least 1, or the folder"),
    (["--shard", "2/2"], "--shard=2/2: must be I/N"),
    (["--shard", "half"], "--shard=half: must be I/N"),
    (["--shard", "0/2", "--merge"], "--merge, which draws nothing"),
    (["--engine", "max_model_len=9"], "--engine max_model_len: give it as --max-model-len"),
    (["--model", "./nowhere"], "--model=./nowhere: no such folder"),
    (["--data", "nothing.parquet"], "--data='nothing.parquet': not a readable parquet file"),
    (["--reward", "nothing.py"], "--reward='nothing.py': no such file"),
    (["n_mc=0"], "algorithm.gpo.n_mc=0: must be an integer of at least 1"),
    (["nmc=4"], "algorithm.gpo.nmc=4: no such key; did you mean n_mc?"),
    (["seed=3"], "algorithm.gpo.seed=3: give it as --seed"),
    (["search=random"], "algorithm.gpo.search='random': is --method random, or --method plain"),
    (["search=given"], "algorithm.gpo.search='given': must look for the step"),
    (["search=uniform", "--method", "random"], "algorithm.gpo.search='uniform': is set by --method"),
    (["enable=false"], "algorithm.gpo.enable=False: whole responses are --method plain"),
    (["n_mc"], "'n_mc': must be KEY=VALUE"),
    (["--apply-chat-template-kwargs", "x"], "--apply-chat-template-kwargs 'x': must be KEY=VALUE"),
    (["--apply-chat-template-kwargs", "tokenize=false"], "--apply-chat-template-kwargs tokenize: must be an argument"),
    (["splitter=regex", "splitter_option=(a"], "algorithm.gpo.splitter_option='(a': regex needs"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_errors_name_the_key(builder, capsys, options, said):
    assert builder(*options) == 1
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert FakeEngine.made == []


def test_a_reward_that_fails_is_found_before_the_engine(builder, tmp_path, capsys):
    (tmp_path / "broken.py").write_text("def compute_score(**kwargs):\n    raise KeyError('answer')\n")
    assert builder("--reward", tmp_path / "broken.py") == 1
    assert "broken.py: fails on row 0 (fake): KeyError('answer')" in capsys.readouterr().err
    assert FakeEngine.made == []


@pytest.mark.parametrize(("column", "value", "said"), BAD)
def test_a_cell_that_cannot_be_used_is_named_before_the_engine(builder, tmp_path, capsys, column, value, said):
    path = write_bad(tmp_path / "bad.parquet", column, value)
    assert builder("--data", path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"verl_gpo: --data={str(path)!r}, {said}") and error.count("\n") == 1
    assert FakeEngine.made == []


@pytest.mark.parametrize("option", [r"\n\n|(?<=\.)\s", "[.!?]\\s", r"\d: ", "{2}"])
def test_a_pattern_survives_the_command_line(builder, tmp_path, option):
    pattern = option if option != "{2}" else "l{2}"
    assert builder("splitter=regex", f"splitter_option={pattern}", "min_step_tokens=1") == 0
    assert read_run(tmp_path / "run")["settings"]["gpo"]["splitter_option"] == pattern


def test_a_reward_that_is_a_coroutine_function_grades(builder, tmp_path):
    (tmp_path / "later.py").write_text(
        "async def compute_score(solution_str, **row):\n    return float('fail' not in solution_str)\n"
    )
    assert builder("--reward", tmp_path / "later.py", out="later") == 0
    assert builder(out="now") == 0
    later, now = (read_rows(tmp_path / out) for out in ("later", "now"))
    assert later and {row["chosen_reward"] for row in later} == {row["chosen_reward"] for row in now} == {1.0}


def test_the_chat_template_is_given_its_arguments_and_other_ones_are_refused(builder, tmp_path, capsys):
    option = ["--apply-chat-template-kwargs", "enable_thinking=false"]
    assert builder(*option) == 0
    rows = read_rows(tmp_path / "run")
    assert rows and all(row["prompt"].startswith(f"<q{row['index']} enable_thinking=False>") for row in rows)
    assert read_run(tmp_path / "run")["settings"]["apply_chat_template_kwargs"] == {"enable_thinking": False}
    assert builder() == 1
    assert "apply_chat_template_kwargs ({'enable_thinking': False} there, None here)" in capsys.readouterr().err
    assert builder(out="plain") == 0
    assert "apply_chat_template_kwargs" not in read_run(tmp_path / "plain")["settings"]
