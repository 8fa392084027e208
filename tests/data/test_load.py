"""Every shape of a local copy gives the same rows; the hub is asked for what is published."""

import json
import shutil

import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from tests.benchmarks import SAMPLES, rows  # noqa: E402
from verl_gpo.data.load import LoadError  # noqa: E402
from verl_gpo.data.prepare import Request, prepare  # noqa: E402
from verl_gpo.data.registry import DATASETS  # noqa: E402


def _as_parquet(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = source.read_text(encoding="utf-8").splitlines()
    pq.write_table(pa.Table.from_pylist([json.loads(line) for line in lines]), target)


def test_local_copies_of_every_shape(tmp_path):
    """A file, a repository's folder, the hub's cache, a mirror and save_to_disk give the same rows."""
    expected = [dict(row) for row in rows(DATASETS["gsm8k"], "train", SAMPLES)]
    train, test = SAMPLES / "gsm8k_train.jsonl", SAMPLES / "gsm8k_test.jsonl"
    repository = tmp_path / "mirror" / "openai" / "gsm8k"
    for split, source in (("train", train), ("test", test)):
        _as_parquet(source, repository / "main" / f"{split}-00000-of-00001.parquet")
        _as_parquet(test, repository / "socratic" / f"{split}-00000-of-00001.parquet")
    cache = tmp_path / "cache" / "datasets--openai--gsm8k"
    for revision in ("old", "new"):
        shutil.copytree(repository, cache / "snapshots" / revision)
    _as_parquet(test, cache / "snapshots" / "old" / "main" / "train-00000-of-00001.parquet")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("new")
    for path in (train, repository, tmp_path / "mirror", tmp_path / "cache", cache):
        assert list(rows(DATASETS["gsm8k"], "train", path)) == expected, path
    # The split's only file, whatever its name; and jsonl in a repository.
    (tmp_path / "deepscaler").mkdir()
    shutil.copy(SAMPLES / "deepscaler.json", tmp_path / "deepscaler" / "deepscaler.json")
    assert len(list(rows(DATASETS["deepscaler"], "train", tmp_path / "deepscaler"))) == 3
    (tmp_path / "MATH-500").mkdir()
    shutil.copy(SAMPLES / "math500.jsonl", tmp_path / "MATH-500" / "test.jsonl")
    assert len(list(rows(DATASETS["math500"], "test", tmp_path))) == 2
    # Configurations as tasks, each a folder of its own.
    for file in (SAMPLES / "bbh").iterdir():
        target = tmp_path / "SaylorTwift" / "bbh" / file.stem / "test-00000-of-00001.parquet"
        target.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(json.loads(file.read_text())["examples"]), target)
    tasks = [row["task"] for row in rows(DATASETS["bbh"], "test", tmp_path)]
    assert tasks == list(DATASETS["bbh"].configs)
    shutil.rmtree(tmp_path / "SaylorTwift" / "bbh" / "snarks")
    with pytest.raises(LoadError, match=r"1 of its configurations \(snarks"):
        list(rows(DATASETS["bbh"], "test", tmp_path))


def test_saved_by_the_library_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    found = {
        split: datasets.Dataset.from_list(list(rows(DATASETS["gsm8k"], split, SAMPLES))) for split in ("train", "test")
    }
    datasets.DatasetDict(found).save_to_disk(str(tmp_path / "gsm8k"))
    assert [len(list(rows(DATASETS["gsm8k"], split, tmp_path))) for split in ("train", "test")] == [3, 2]


def test_mmlu_stem_is_a_part_of_mmlu(tmp_path):
    stem = {"question": "1+1?", "subject": "college_mathematics", "choices": ["1", "2", "3", "4"], "answer": 1}
    _as_parquet(SAMPLES / "mmlu.jsonl", tmp_path / "cais" / "mmlu" / "all" / "test-00000-of-00001.parquet")
    _as_parquet(SAMPLES / "mmlu.jsonl", tmp_path / "cais" / "mmlu" / "all" / "validation-00000-of-00001.parquet")
    path = tmp_path / "cais" / "mmlu" / "all" / "test-00001-of-00002.parquet"
    pq.write_table(pa.Table.from_pylist([stem]), path)
    assert len(list(rows(DATASETS["mmlu"], "test", tmp_path))) == 3
    subjects = [row["subject"] for row in rows(DATASETS["mmlu_stem"], "test", tmp_path)]
    assert subjects == ["high_school_biology", "college_mathematics"]


def test_the_hub_is_asked_for_what_is_published(monkeypatch, tmp_path):
    """Which repository, configuration and split is loaded for each data set; and what an unreachable hub says."""
    datasets = pytest.importorskip("datasets")
    asked = []

    def fake(repository, config, split, revision):
        asked.append((repository, config, split, revision))
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", fake)
    for name in DATASETS:
        with pytest.raises(
            LoadError, match=r"could not be loaded from the Hugging Face hub \(no route\): give --local-path"
        ):
            prepare(Request(name, holdout=("none",), revision="abc"), tmp_path / "out", progress=False)
    assert asked == [
        ("openai/gsm8k", "main", "train", "abc"),
        ("DigitalLearningGmbH/MATH-lighteval", None, "train", "abc"),
        ("HuggingFaceH4/MATH-500", None, "test", "abc"),
        ("BytedTsinghua-SIA/DAPO-Math-17k", None, "train", "abc"),
        ("agentica-org/DeepScaleR-Preview-Dataset", None, "train", "abc"),
        ("HuggingFaceH4/aime_2024", None, "train", "abc"),
        ("math-ai/aime25", None, "test", "abc"),
        ("math-ai/amc23", None, "test", "abc"),
        ("math-ai/minervamath", None, "test", "abc"),
        ("SaylorTwift/bbh", "boolean_expressions", "test", "abc"),
        ("cais/mmlu", "all", "test", "abc"),
        ("cais/mmlu", "all", "test", "abc"),
        ("TIGER-Lab/MMLU-Pro", None, "test", "abc"),
    ]
