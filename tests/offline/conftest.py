"""A model folder without a model, prompts, and the pair builder's command line with a fake engine."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.offline.fakes import REWARD, FakeEngine, FakeTokenizer
from tests.offline.preferences import PAIRS, QUICK, SINGLES
from verl_gpo.offline import build


def write_prompts(path, count=6, first=0, questions=None):
    """Rows of questions q0, q1, ...; ``questions`` maps some row numbers to others."""
    rows = [
        {
            "data_source": "fake",
            "prompt": [{"role": "user", "content": (questions or {}).get(number, f"q{number}")}],
            "reward_model": {"style": "rule", "ground_truth": "good"},
            "extra_info": {"index": number},
        }
        for number in range(first, first + count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    return folder


@pytest.fixture
def builder(model, tmp_path, monkeypatch):
    """``builder(*options, out=..., **engine)``: exit status of the command line."""
    monkeypatch.setattr(FakeEngine, "made", [])
    monkeypatch.setattr(build, "visible_devices", lambda: [])
    monkeypatch.setattr(build, "build_tokenizer", lambda settings: FakeTokenizer())
    data = write_prompts(tmp_path / "data.parquet")
    reward = tmp_path / "reward.py"
    reward.write_text(REWARD)

    def run(*options, out="run", **engine):
        monkeypatch.setattr(build, "build_engine", lambda settings, seed: FakeEngine(seed, **engine))
        fixed = ["--model", model, "--data", data, "--reward", reward, "--out", tmp_path / out]
        return build.main(list(map(str, [*fixed, "--response-length", 40, *options])))

    return run


def read_rows(folder, name="pairs"):
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def read_report(folder):
    return json.loads((folder / "report.json").read_text())


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
