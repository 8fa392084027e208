"""Tasks of reasoning-gym, an optional package, as data sets. Their problems are generated, so they can have any
size."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from typing import Any

from .load import LoadError
from .registry import REASONING_GYM, DataSet, Example

#: Distance between the seeds of two data sets. Problem i of seed s is also problem 0 of seed s + i, so data sets whose
#: seeds are closer together would have problems in common.
SEED_DISTANCE = 10_000_000


def _package() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise LoadError(f"--dataset {REASONING_GYM}:TASK needs the package: pip install reasoning-gym") from error
    return reasoning_gym


def version() -> str:
    """Version of the package. Other versions generate other problems.

    Raises:
        LoadError: the package is missing.
    """
    _package()
    try:
        return importlib.metadata.version("reasoning-gym")  # its own __version__ is not kept up to date
    except importlib.metadata.PackageNotFoundError:  # on the path without having been installed
        return "unknown"


def entry(task: str, size: int, test_size: int) -> DataSet:
    """The task as an entry of the registry.

    Args:
        task: reasoning-gym's name of it.
        size: number of training problems; with 0 there is no training split.
        test_size: number of test problems; with 0 there is no test split.

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
    """The problems of a split, as the package generates them. Splits and seeds share no problem.

    Raises:
        LoadError: the package is missing, or refuses the task's default settings.
    """
    size = data.splits[split][1]
    start = (2 * seed + (split == "test")) * SEED_DISTANCE
    try:
        problems = _package().create_dataset(data.configs[0], size=size, seed=start)
    except (AssertionError, TypeError, ValueError) as error:  # for example composite, which has no defaults
        raise LoadError(f"--dataset {data.name} cannot be generated with its default settings: {error}") from error
    for item in problems:
        yield {**item, "task": data.configs[0]}


def read(row: Any) -> Example | None:
    """Read a problem. ``metadata["entry"]`` is the whole problem as JSON, which the package's scorers need."""
    answer = row["answer"]
    entry = json.dumps({name: row[name] for name in ("question", "answer", "metadata")}, default=str)
    return Example(row["question"], "" if answer is None else str(answer), "", row["task"], {"entry": entry})
