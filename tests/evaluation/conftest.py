"""A model folder without a model, a benchmark of sums, and the command line with a fake engine."""

import json

import pytest

from tests.evaluation.fakes import FakeEngine
from verl_gpo.data.registry import Example
from verl_gpo.data.templates import TEMPLATES
from verl_gpo.data.write import row, write_parquet
from verl_gpo.evaluation import __main__ as command
from verl_gpo.evaluation import generate


def write_sums(path, count=6, first=1):
    """``count`` sums in verl's schema, with a data source that the shared grader knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    examples = [Example(f"What is {i} plus {i + 10}?", str(2 * i + 10)) for i in range(first, first + count)]
    template = TEMPLATES["gsm8k"]
    write_parquet((row(e, i, "test", "openai/gsm8k", "math", template) for i, e in enumerate(examples)), path)
    return path


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4096)
    return folder


@pytest.fixture
def sums(tmp_path):
    return write_sums(tmp_path / "sums.parquet")


@pytest.fixture
def evaluate(model, sums, tmp_path, monkeypatch):
    """``evaluate(*options, out=..., **engine)``: exit status of the command line."""
    monkeypatch.setattr(FakeEngine, "made", [])
    monkeypatch.setattr(command, "visible_devices", lambda: [])

    def run(*options, out="run", benchmarks=f"sums={sums}", k=4, **engine):
        monkeypatch.setattr(generate, "build_engine", lambda settings, seed: FakeEngine(seed, **engine))
        fixed = ["--model", str(model), "--benchmarks", benchmarks, "--out", str(tmp_path / out)]
        return command.main([*fixed, *(["--k", str(k)] if k else []), *map(str, options)])

    return run


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
