"""Rows of a published data set, from the Hugging Face hub or from a local copy, one dictionary at a time.

A local copy is a file (jsonl, json, parquet), a repository's folder (as ``hf download --local-dir`` or the hub's cache
leaves it, or written by ``Dataset.save_to_disk``), or a mirror: a folder that holds such copies under the data sets'
names.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .columns import ColumnError, shown
from .parquet import to_rows
from .registry import DATASETS, DataSet

#: The place of a row, for messages, and the row.
Located = tuple[str, dict[str, Any]]

SUFFIXES = (".parquet", ".jsonl", ".json")


class LoadError(RuntimeError):
    """A data set cannot be read. The message names the file or the repository, and says what to do."""


def find(entry: DataSet, folder: Path) -> Path | None:
    """The folder of a data set in a mirror, named after its repository or the data set; None if there is none."""
    owner, _, repository = entry.hub.partition("/")
    names = [f"{owner}/{repository}", f"datasets--{owner}--{repository}", repository, entry.name]
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _snapshot(folder: Path) -> Path:
    """The newest snapshot, if the folder is one of the hub's cache; otherwise the folder itself."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text().strip()).is_dir():
        return snapshots / main.read_text().strip()
    return max(snapshots.iterdir(), key=lambda path: path.stat().st_mtime)


def local_files(entry: DataSet, split: str, path: Path, *, mirror_only: bool = False) -> list[tuple[str, Path]]:
    """The files of a split in a local copy.

    Args:
        entry: the data set.
        split: ``train`` or ``test``.
        path: a file, a repository's folder, or a mirror.
        mirror_only: ``path`` is meant for another data set too, so only files that have this one's name are taken.

    Returns:
        Pairs of a configuration and a file, or a folder of ``save_to_disk``; none if the copy has no such split.
    """
    if path.is_file():
        return [] if mirror_only else [(entry.configs[0], path)]
    published, _ = entry.splits[split]
    for stem in (f"{entry.name}_{split}", entry.name if len(entry.splits) == 1 else None):
        for suffix in SUFFIXES:
            if stem and (path / f"{stem}{suffix}").is_file():
                return [(entry.configs[0], path / f"{stem}{suffix}")]
    own = find(entry, path)
    if own is None and (mirror_only or _is_mirror(path)):
        return []
    folder = _snapshot(own or path)
    found: list[tuple[str, Path]] = []
    for config in entry.configs:
        found += [(config, file) for file in _config_files(entry, config, published, folder)]
    return found


def _is_mirror(folder: Path) -> bool:
    """Whether the folder holds data sets under their names. Then it is not the folder of one data set."""

    def named(entry: DataSet) -> bool:
        stems = [entry.name, *(f"{entry.name}_{split}" for split in entry.splits)]
        return any((folder / f"{stem}{suffix}").is_file() for stem in stems for suffix in SUFFIXES)

    return any(named(entry) or find(entry, folder) for entry in DATASETS.values())


def _config_files(entry: DataSet, config: str, split: str, folder: Path) -> list[Path]:
    for saved in (folder / config, folder):
        if (saved / "dataset_dict.json").is_file():
            return [saved / split] if (saved / split).is_dir() else []
        if (saved / "state.json").is_file():
            return [saved] if len(entry.splits) == 1 else []
    if len(entry.configs) > 1:
        single = [folder / f"{config}{suffix}" for suffix in SUFFIXES]
        if any(file.is_file() for file in single):
            return [file for file in single if file.is_file()][:1]
        places = [folder / config]
    else:
        places = [folder / config, folder / "data", folder]
    for place in places:
        files = sorted(file for file in place.rglob("*") if file.suffix in SUFFIXES and file.name not in _ABOUT)
        files = [file for file in files if not any(_names(file, folder, other) for other in entry.other_configs)]
        named = [file for file in files if _names(file, folder, split)]
        # If test.jsonl and test_hard.jsonl are there, only the first is the split.
        named = [file for file in named if re.fullmatch(rf"{split}(?:-\d+)?(?:-of-\d+)?", file.stem)] or named
        # A file without the name of any split (deepscaler.json) is the only split of its data set.
        if named or (files and len(entry.splits) == 1 and not any(_names(file, folder, _ANY) for file in files)):
            return named or files
    return []


_ANY = "(?:train|test|dev|validation)"
_ABOUT = ("dataset_infos.json", "dataset_info.json", "manifest.json")


def _names(file: Path, folder: Path, split: str) -> bool:
    return bool(re.search(rf"(?:^|[/_.-]){split}(?:[/_.-]|$)", file.relative_to(folder).as_posix()))


def read_file(path: Path) -> Iterator[Located]:
    """The rows of one file, or of one folder of ``save_to_disk``, each with its place.

    Raises:
        LoadError: it cannot be read, or something in it is not a row; the message names file and row.
    """
    read = _read_folder if path.is_dir() else _READERS.get(path.suffix)
    if read is None:
        raise LoadError(f"{path} is of no known kind: a file must end in {', '.join(SUFFIXES)}")
    try:
        for where, row in read(path):
            if not isinstance(row, dict):
                raise LoadError(f"{where}: is {shown(row)}; must be an object with the data set's columns")
            yield where, row
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {_one_line(error)}") from error


def _read_folder(path: Path) -> Iterator[tuple[str, Any]]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(path))
    except (ValueError, RuntimeError) as error:
        raise LoadError(f"{path} cannot be read: {_one_line(error)}") from error
    for number, row in enumerate(saved):
        yield f"{path}, row {number}", row


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
            for row in to_rows(batch, str(path), number):
                yield f"{path}, row {number}", row
                number += 1
    except pa.ArrowException as error:
        raise LoadError(f"{path} is not a parquet file: {_one_line(error)}") from error
    except ValueError as error:
        raise LoadError(_one_line(error)) from error


def _read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    number = 0
    with path.open("rb") as lines:
        for line_number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}, row {number} (line {line_number})", _json(line, f"{path}:{line_number}")
                number += 1


def _read_json(path: Path) -> Iterator[tuple[str, Any]]:
    content = _json(path.read_bytes(), str(path))
    rows = content.get("examples", content.get("data")) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise LoadError(f'{path} holds no rows: it must be a list, or an object with a list "examples" or "data"')
    for number, row in enumerate(rows):
        yield f"{path}, row {number}", row


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = dict(
    zip(SUFFIXES, (_read_parquet, _read_jsonl, _read_json), strict=True)
)


def _json(raw: bytes, where: str) -> Any:
    # A byte that is not UTF-8 becomes half a surrogate pair. `columns` then refuses it and names the column.
    text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{where} is not JSON: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _from_hub(entry: DataSet, config: str, split: str, revision: str | None) -> Iterator[Located]:
    try:
        import datasets
    except ImportError as error:
        raise LoadError("the hub needs the package datasets: pip install datasets, or give --local-path") from error
    name = None if config == "default" else config
    try:
        for number, row in enumerate(datasets.load_dataset(entry.hub, name, split=split, revision=revision)):
            yield f"{entry.hub}, {split}, row {number}", row
    except (OSError, ValueError, RuntimeError) as error:
        # The package raises subclasses of these if the data set is missing or gated, or the hub cannot be reached.
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LoadError(
            f"{entry.hub} could not be loaded from the Hugging Face hub ({said}): give --local-path"
        ) from error


def located_rows(
    entry: DataSet, split: str, path: Path | None = None, revision: str | None = None, *, mirror_only: bool = False
) -> Iterator[Located]:
    """The rows of one split, as they are published, each with its place.

    Args:
        entry: the data set.
        split: ``train`` or ``test``.
        path: a local copy; None for the hub.
        revision: of the repository on the hub; None for the newest.
        mirror_only: see :func:`local_files`.

    Yields:
        The rows that belong to the data set (``DataSet.keep``). If the configurations of the repository are tasks, the
        column ``task`` is added.

    Raises:
        LoadError: the split is not there, or cannot be read.
    """
    if path is None:
        sources = [(config, _from_hub(entry, config, entry.splits[split][0], revision)) for config in entry.configs]
    else:
        if not path.exists():
            raise LoadError(f"--local-path {path} does not exist")
        files = local_files(entry, split, path, mirror_only=mirror_only)
        missing = {} if files and path.is_file() else set(entry.configs) - {config for config, _ in files}
        if not files or missing:
            what = f"{len(missing)} of its configurations ({', '.join(sorted(missing)[:3])}, ...)" if files else "it"
            raise LoadError(
                f"{path} holds no split {entry.splits[split][0]!r} of {entry.name}: {what} is missing. Looked for "
                f"{entry.name}_{split}.jsonl, {entry.name}.jsonl (or .json, .parquet), and a folder {entry.hub}, "
                f"{entry.hub.partition('/')[2]} or {entry.name}"
            )
        sources = [(config, read_file(file)) for config, file in files]
    for config, found in sources:
        for where, row in found:
            if len(entry.configs) > 1 and "task" not in row:
                row["task"] = config
            try:
                belongs = entry.keep(row)
            except ColumnError as error:
                raise LoadError(f"{where}, {error}") from error
            if belongs:
                yield where, row
