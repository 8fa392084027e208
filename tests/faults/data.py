"""Data and model of the fault tests, made from those of the arithmetic task."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

#: Faults of the first and of the second training step, one a prompt (:mod:`tests.faults.reward`, ``inject``).
REWARDS = [f"{kind}_{where}" for kind in ("raise", "hang", "nan", "slow") for where in ("root", "search")]
ANSWERS = ["aborted_root", "aborted_search", "empty_root", "empty_search"]
ANSWERS += ["full_roots", "html_roots", "controls_roots", "megabytes_roots"]
MEGABYTE = "x" * 1_000_000


def soft_data(source: Path, folder: Path, clean: int = 8) -> Path:
    """Rows that name their faults, in order, then ``clean`` rows; a model whose token 255 is a megabyte of text."""
    shutil.copytree(source, folder)
    faults = [*REWARDS, *ANSWERS, *[""] * clean]
    table = pq.read_table(source / "train.parquet").slice(0, len(faults))
    rows = table.to_pylist()
    for row, fault in zip(rows, faults, strict=True):
        row["extra_info"]["fault"] = fault
    pq.write_table(type(table).from_pylist(rows), folder / "train.parquet")
    file = folder / "model" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[MEGABYTE] = vocabulary.pop(next(text for text, number in vocabulary.items() if number == 255))
    file.write_text(json.dumps(tokenizer))
    return folder
