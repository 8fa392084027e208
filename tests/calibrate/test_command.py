"""A calibration from its command line, with the pair builder's fake engine: refusals, rewards, templates, folder."""

import json

import pytest

from tests.inference.rows import BAD, write_bad
from tests.offline.conftest import write_prompts
from tests.offline.fakes import REWARD, FakeEngine
from verl_gpo.calibrate import __main__ as command
from verl_gpo.calibrate.pool import read_pool


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """``calibrate(*options, **engine)``: exit status of the command line."""
    monkeypatch.setattr(FakeEngine, "made", [])
    model, reward, data = tmp_path / "model", tmp_path / "reward.py", tmp_path / "data.parquet"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    reward.write_text(REWARD)
    write_prompts(data, questions={1: "q" * 300})

    def run(*options, **engine):
        monkeypatch.setattr(command, "build_engine", lambda args, seed: FakeEngine(seed, **engine))
        fixed = ["--model", model, "--data", data, "--reward", reward, "--out", tmp_path / "out", "--responses", 2]
        fixed += ["--reference", 4, "--roots", 2, "--repeats", 1, "--searches", "uniform", "--response-length", 40]
        return command.main(list(map(str, [*fixed, *options])))

    return run


@pytest.mark.parametrize(("column", "value", "said"), BAD)
def test_a_cell_that_cannot_be_used_is_named(calibrate, tmp_path, capsys, column, value, said):
    path = write_bad(tmp_path / "bad.parquet", column, value)
    assert calibrate("--data", path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"verl_gpo: --data={str(path)!r}, {said}") and error.count("\n") == 1
    assert FakeEngine.made == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "./nowhere"], "--model=./nowhere: no such folder"),
        (["--data", "nothing.parquet"], "--data='nothing.parquet': not a readable parquet file"),
        (["--reward", "nothing.py"], "--reward='nothing.py': no such file"),
        (["--temperature", "0"], "--temperature=0.0: must be above 0"),
        (["--top-p", "2"], "--top-p=2.0: must be above 0 and at most 1"),
        (["--max-model-len", "0"], "--max-model-len=0: must be at least 1"),
        (["--engine", "dtype"], "'dtype': must be KEY=VALUE"),
        (["--apply-chat-template-kwargs", "x"], "--apply-chat-template-kwargs 'x': must be KEY=VALUE"),
    ],
)
def test_a_wrong_option_is_named(calibrate, capsys, options, said):
    assert calibrate(*options) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"verl_gpo: {said}") and error.count("\n") == 1 and FakeEngine.made == []


@pytest.mark.parametrize("body", ["raise KeyError('gone')", "return 'good'", "import no_such_module"])
def test_a_reward_that_cannot_grade_is_refused(calibrate, tmp_path, capsys, body):
    path = tmp_path / "broken.py"
    path.write_text(f"def compute_score(**row):\n    {body}\n")
    assert calibrate("--reward", path) == 1
    error = capsys.readouterr().err
    assert f"--reward={path}: fails on row 0 (fake)" in error and error.count("\n") == 1


def test_a_prompt_that_is_too_long_is_left_out_with_the_reason(calibrate, tmp_path, capsys):
    (tmp_path / "later.py").write_text(REWARD.replace("def ", "async def "))
    options = ["--reward", tmp_path / "later.py", "--apply-chat-template-kwargs", "enable_thinking=false"]
    assert calibrate(*options, max_model_len=200) == 0
    assert "warning: row 1 is left out: the prompt has 324 tokens" in capsys.readouterr().err
    assert 1 not in {response.prompt for response in read_pool(tmp_path / "out" / "pool.jsonl")}
    context = "".join(map(chr, FakeEngine.made[0].answers[0][0]))
    assert context.partition(">")[0].endswith(" enable_thinking=False")


def test_responses_of_other_settings_are_not_mixed(calibrate, tmp_path, capsys):
    assert calibrate() == 0
    assert calibrate("--searches", "random", "--repeats", 2) == 0  # what a response does not depend on
    made = len(FakeEngine.made)
    assert calibrate("--apply-chat-template-kwargs", "enable_thinking=false") == 1
    assert "apply_chat_template_kwargs ({} there, {'enable_thinking': False} here)" in capsys.readouterr().err
    assert calibrate("--temperature", 0.5) == 1 and len(FakeEngine.made) == made
