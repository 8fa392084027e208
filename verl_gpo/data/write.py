"""verl's parquet schema, and folders that are either complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .registry import Example
from .templates import Template

MANIFEST = "manifest.json"


def row(example: Example, index: int, split: str, source: str, ability: str, template: Template) -> dict[str, Any]:
    """One row in verl's schema.

    ``extra_info`` has the fields that verl writes for GSM8K (``split``, ``index``, ``answer``, ``question``), and
    ``task`` and ``metadata``. verl concatenates files only if their types are the same, so ``metadata`` is JSON text
    for all data sets.

    Args:
        example: the content of the row.
        index: number of the row in the published split, so that it can be found there after rows were left out.
        split: ``train`` or ``test``.
        source: the ``data_source``, which decides the grader.
        ability: verl's column of this name.
        template: makes the prompt of the question.
    """
    return {
        "data_source": source,
        "prompt": template.messages(example.question),
        "ability": ability,
        "reward_model": {"style": "rule", "ground_truth": example.answer},
        "extra_info": {
            "split": split,
            "index": index,
            "answer": example.reference or example.answer,
            "question": example.question,
            "task": example.task,
            "metadata": json.dumps(dict(example.metadata), ensure_ascii=False),
        },
    }


def schema() -> Any:
    """The types of all columns, a ``pyarrow.Schema``."""
    import pyarrow as pa

    text = pa.string()
    extra = [("split", text), ("index", pa.int64()), ("answer", text), ("question", text), ("task", text)]
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([*extra, ("metadata", text)])),
        ]
    )


def write_parquet(rows: Iterable[dict[str, Any]], path: Path) -> dict[str, Any]:
    """Write a parquet file.

    Returns:
        The manifest's entry of the file: number of rows, bytes, and SHA-256 digest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows), schema=schema())
    pq.write_table(table, path)
    return {"rows": table.num_rows, "bytes": path.stat().st_size, "sha256": sha256(path)}


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder that :mod:`~verl_gpo.data.prepare` wrote, None for any other folder."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "files" in manifest and "key" in manifest else None


def intact(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether a folder holds all files of its manifest, unchanged."""
    return all(
        (folder / name).is_file() and sha256(folder / name) == file["sha256"]
        for name, file in manifest["files"].items()
    )


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A new folder beside ``out``. It replaces ``out`` if the block ends without an error, and is deleted otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield work
        work.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        os.replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
