"""Tasks of reasoning-gym, an optional package, as data sets: generated, hence of any size."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from typing import Any

from .load import LoadError
from .registry import REASONING_GYM, DataSet, Example

# Problem i of a data set with seed s is problem 0 of the one with seed s + i: seeds have to be far apart.
SEED_DISTANCE = 10_000_000


def _package() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise LoadError(f"--dataset {REASONING_GYM}:TASK needs the package: pip install reasoning-gym") from error
    return reasoning_gym


def version() -> str:
    """Version of the package: other versions generate other problems."""
    _package()
    try:
        return importlib.metadata.version("reasoning-gym")  # its own __version__ is not kept up to date
    except importlib.metadata.PackageNotFoundError:  # on the path without having been installed
        return "unknown"


def entry(task: str, size: int, test_size: int) -> DataSet:
    """The task as a registry entry.

    Raises:
        LoadError: the package is missing, or has no such task.
    """
    _package()
    from reasoning_gym.factory import DATASETS as TASKS

    if task not in TASKS:
        raise LoadError(f"--dataset {REASONING_GYM}:{task}: no such task; known are {', '.join(sorted(TASKS))}")
    splits = {"train": ("train", size), "test": ("test", test_size)}
    return DataSet(
        name=f"{REASONING_GYM}:{task}",
        source=f"{REASONING_GYM}/{task}",
        hub=REASONING_GYM,
        splits={split: value for split, value in splits.items() if value[1]},
        read=read,
        template="tagged",
        grader=REASONING_GYM,
        ability="reasoning",
        configs=(task,),
    )


def rows(data: DataSet, split: str, seed: int) -> Iterator[dict[str, Any]]:
    """The entries that the package generates; no entry of one split or seed is generated again for another."""
    size = data.splits[split][1]
    start = (2 * seed + (split == "test")) * SEED_DISTANCE
    try:
        problems = _package().create_dataset(data.configs[0], size=size, seed=start)
    except (AssertionError, TypeError, ValueError) as error:  # composite, for one, has no defaults
        raise LoadError(f"--dataset {data.name} cannot be generated with its default settings: {error}") from error
    for item in problems:
        yield {**item, "task": data.configs[0]}


def read(row: Any) -> Example | None:
    """An entry to an example; ``metadata.entry`` is the whole entry, which the package's scorers ask for."""
    answer = row["answer"]
    entry = json.dumps({name: row[name] for name in ("question", "answer", "metadata")}, default=str)
    return Example(row["question"], "" if answer is None else str(answer), "", row["task"], {"entry": entry})
