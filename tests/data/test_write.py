"""verl's schema, files that are what the manifest says, and folders that are complete or absent."""

import hashlib
import io
import json

import pytest

pq = pytest.importorskip("pyarrow.parquet")

from verl_gpo.data import write  # noqa: E402
from verl_gpo.data.registry import Example  # noqa: E402
from verl_gpo.data.templates import TEMPLATES  # noqa: E402

EXAMPLE = Example("1+1?", "2", "It is 2.", "sums", {"level": 3, "é": None})


def made(example=EXAMPLE, index=7):
    return write.row(example, index, "train", "openai/gsm8k", "math", TEMPLATES["plain"])


def test_a_row_by_hand():
    assert made() == {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": "1+1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {
            "split": "train",
            "index": 7,
            "answer": "It is 2.",
            "question": "1+1?",
            "task": "sums",
            "metadata": '{"level": 3, "é": null}',
        },
    }
    assert made(Example("q", "a"))["extra_info"]["answer"] == "a"  # without a solution the answer itself


def test_what_is_written_is_read_and_as_the_manifest_says(tmp_path):
    path = tmp_path / "train.parquet"
    said = write.write_parquet([made(), made(index=8)], path)
    assert pq.read_table(path).to_pylist() == [made(), made(index=8)]
    content = path.read_bytes()
    assert said == {"rows": 2, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert write._digest(io.BytesIO(content)) == said["sha256"]  # as Python 3.10 computes it
    assert pq.read_schema(path).equals(write.schema())


def test_an_empty_split_has_the_same_columns(tmp_path):
    assert write.write_parquet([], tmp_path / "x.parquet")["rows"] == 0
    assert pq.read_schema(tmp_path / "x.parquet").equals(write.schema())


def test_files_that_changed_are_noticed(tmp_path):
    manifest = {"files": {"x.parquet": write.write_parquet([made()], tmp_path / "x.parquet")}}
    assert write.intact(tmp_path, manifest)
    (tmp_path / "x.parquet").write_bytes(b"other")
    assert not write.intact(tmp_path, manifest)
    (tmp_path / "x.parquet").unlink()
    assert not write.intact(tmp_path, manifest)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"files": {}}', '{"key": "x"}'])
def test_a_folder_without_a_whole_manifest_was_not_prepared(tmp_path, content):
    if content is not None:
        (tmp_path / write.MANIFEST).write_text(content)
    assert write.read_manifest(tmp_path) is None


def test_a_manifest_is_read(tmp_path):
    manifest = {"files": {}, "key": "k"}
    (tmp_path / write.MANIFEST).write_text(json.dumps(manifest))
    assert write.read_manifest(tmp_path) == manifest


def test_a_folder_appears_when_it_is_complete_and_replaces_the_old_one(tmp_path):
    out = tmp_path / "deep" / "out"
    for name in ("one", "two"):
        with write.new_folder(out) as work:
            (work / name).write_text("x")
            assert not (out / name).exists()
        assert [file.name for file in out.iterdir()] == [name]
    assert [folder.name for folder in out.parent.iterdir()] == ["out"]


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    with write.new_folder(out) as work:
        (work / "old").write_text("x")
    with pytest.raises(OSError, match="full"), write.new_folder(out) as work:
        (work / "new").write_text("x")
        raise OSError("full")
    assert [file.name for file in out.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [out]
