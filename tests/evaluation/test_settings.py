"""Errors come before the engine and name what is wrong; what a sample depends on is told apart."""

import json
import shutil

import pytest

from tests.evaluation.conftest import write_sums
from tests.evaluation.fakes import FakeEngine
from tests.inference.rows import BAD, write_bad
from verl_gpo.data.registry import DATASETS
from verl_gpo.evaluation import protocol
from verl_gpo.evaluation.settings import make_settings, parse_args
from verl_gpo.inference.fingerprint import difference
from verl_gpo.inference.model import identify

WRONG = [
    (["--k", "0"], "--k=0: must be at least 1"),
    (["--max-tokens", "0"], "--max-tokens=0"),
    (["--temperature", "-1"], "--temperature=-1.0: must be 0, which is greedy"),
    (["--temperature", "nan"], "--temperature=nan"),
    (["--top-p", "0"], "--top-p=0.0: must be above 0"),
    (["--temperature", "0"], "--k=4: must be 1 at --temperature=0"),
    (["--engine", "tensor_parallel_size=2"], "give it as --tensor-parallel-size"),
    (["--engine", "dtype"], "'dtype': must be KEY=VALUE"),
    (["--apply-chat-template-kwargs", "return_dict=true"], "--apply-chat-template-kwargs return_dict: must be an arg"),
    (["--tensor-parallel-size", "2"], "--tensor-parallel-size=2: this machine has no GPU"),
    (["--reward", "nothing.py"], "--reward='nothing.py': no such file"),
    (["--model", "./nowhere"], "--model=./nowhere: no such folder"),
    (["--model", "nowhere"], "--model=nowhere: no such folder, and not an OWNER/NAME"),
    (["--benchmarks", "nothing"], "--benchmarks=nothing: no such benchmark; known are gsm8k"),
    (["--benchmarks", "deepscaler"], "no such benchmark"),  # training only
    (["--benchmarks", "a b=x.parquet"], "the name before ="),
    (["--benchmarks", "a=x.parquet"], "not a readable parquet file"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_one_line_says_what_is_wrong_before_an_engine_is_made(evaluate, capsys, options, said):
    assert evaluate(*options) == 1
    error = capsys.readouterr().err
    assert error.startswith("verl_gpo: ") and error.count("\n") == 1
    assert said in error
    assert not FakeEngine.made


@pytest.mark.parametrize(("column", "value", "said"), BAD)
def test_a_cell_that_cannot_be_used_is_named(evaluate, tmp_path, capsys, column, value, said):
    path = write_bad(tmp_path / "bad.parquet", column, value)
    assert evaluate(benchmarks=f"bad={path}") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"verl_gpo: --benchmarks=bad={path}: data={str(path)!r}, {said}") and error.count("\n") == 1
    assert not FakeEngine.made


def test_a_benchmark_that_is_not_prepared_comes_with_the_command_that_prepares_it(evaluate, capsys, tmp_path):
    for name, folder in (("aime24", "aime24"), ("reasoning_gym:leg_counting", "reasoning_gym_leg_counting")):
        assert evaluate("--data-dir", tmp_path, benchmarks=name) == 1
        error = capsys.readouterr().err
        assert f"python -m verl_gpo.data.prepare --dataset {name} --out {tmp_path / folder}" in error


def test_a_prepared_folder_is_found_and_one_of_another_data_set_is_not(evaluate, capsys, tmp_path):
    write_sums(tmp_path / "gsm8k" / "test.parquet", count=2)
    manifest = {"key": "", "files": {}, "dataset": "math", "partial": []}
    (tmp_path / "gsm8k" / "manifest.json").write_text(json.dumps(manifest))
    assert evaluate("--data-dir", tmp_path, benchmarks="gsm8k") == 1
    assert "gsm8k holds math" in capsys.readouterr().err
    manifest |= {"dataset": "gsm8k", "partial": ["gsm8k test has 2 rows, published are 1,319"]}
    (tmp_path / "gsm8k" / "manifest.json").write_text(json.dumps(manifest))
    assert evaluate("--data-dir", tmp_path, benchmarks="gsm8k", k=None) == 0
    assert "warning: gsm8k is incomplete: gsm8k test has 2 rows" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["benchmarks"]["gsm8k"]["k"] == 1


def test_the_same_name_twice_is_refused(evaluate, sums, capsys):
    assert evaluate(benchmarks=f"a={sums},a={sums}") == 1
    assert "a is named twice" in capsys.readouterr().err


REWARDS = {
    "raises": ("def compute_score(**_): raise KeyError('gone')", "row 0: the reward function failed: KeyError('gone')"),
    "text": ("def compute_score(**_): return 'good'", "the reward function failed: ValueError"),
    "signed": ("def compute_score(**_): return -1.0", "acc, or else score, must be in [0, 1]"),
    "broken": ("import no_such_module", "cannot be loaded (ModuleNotFoundError"),
    "other": ("def score(**_): return 1.0", "has no function 'compute_score'"),
}


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_that_cannot_grade_is_refused(evaluate, tmp_path, capsys, name):
    code, said = REWARDS[name]
    (tmp_path / "reward.py").write_text(code)
    assert evaluate("--reward", tmp_path / "reward.py") == 1
    assert said in capsys.readouterr().err
    assert not FakeEngine.made


def test_data_without_a_grader_are_refused_with_the_way_out(evaluate, tmp_path, capsys):
    import pyarrow.parquet as pq

    path = write_sums(tmp_path / "x.parquet")
    rows = pq.read_table(path).to_pylist()
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist([{**row, "data_source": "mine"} for row in rows]), path)
    assert evaluate(benchmarks=f"x={path}") == 1
    error = capsys.readouterr().err
    assert "data_source='mine' has no grader" in error and "--reward FILE.py" in error


def settings_of(model, sums, *options):
    fixed = ["--model", str(model), "--benchmarks", f"sums={sums}", "--out", "unused"]
    return make_settings(parse_args([*fixed, *map(str, options)]))


def test_the_hash_changes_with_what_samples_depend_on_and_with_nothing_else(model, sums):
    base = settings_of(model, sums)
    same = (["--k", "2"], ["--limit", "1"], ["--concurrency", "3"], ["--engine", "gpu_memory_utilization=0.5"])
    for options in same:
        assert settings_of(model, sums, *options).hash == base.hash
    other = (["--temperature", ".7"], ["--top-p", "1"], ["--max-tokens", "9"], ["--max-model-len", "64"])
    for options in (*other, ["--seed", "1"], ["--engine", "dtype=float32"]):
        assert settings_of(model, sums, *options).hash != base.hash


def test_the_defaults_are_the_protocol(model, sums):
    base = settings_of(model, sums)
    assert (base.drawn_with["temperature"], base.drawn_with["top_p"], base.max_tokens) == (0.6, 0.95, 32768)
    assert base.benchmarks["sums"].k == protocol.OTHER_SAMPLES
    assert protocol.samples_of("aime24") == 32 and protocol.samples_of("math500") == 4
    assert set(protocol.SAMPLES) == {name for name, entry in DATASETS.items() if "test" in entry.splits}


def test_greedy_draws_one_sample_by_default(model, sums):
    assert settings_of(model, sums, "--temperature", "0").benchmarks["sums"].k == 1


def test_a_model_is_known_by_its_contents(model, tmp_path):
    known = identify(str(model))
    assert identify(str(shutil.copytree(model, tmp_path / "moved"))) == known
    assert identify("Qwen/Qwen3-0.6B") == {"model": "Qwen/Qwen3-0.6B", "tokenizer": "Qwen/Qwen3-0.6B"}
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    assert list(difference(known, identify(str(model)))) == ["model"]
    known = identify(str(model))
    (model / "chat_template.jinja").write_text("{{ other }}")
    assert list(difference(known, identify(str(model)))) == ["tokenizer"]


def test_a_folder_without_model_or_template_is_refused(model):
    (model / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match="no chat template"):
        identify(str(model))
    (model / "config.json").unlink()
    with pytest.raises(ValueError, match="no config.json"):
        identify(str(model))
