"""Write a public data set in verl's parquet schema.

    python -m verl_gpo.data.prepare --dataset gsm8k --out ~/data/gsm8k

writes ``train.parquet`` and ``test.parquet``, if the data set has these splits, and ``manifest.json``: the number of
rows, what was left out and why, and SHA-256 checksums. The same call again finds these files and returns at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import dedup, gym, load
from .columns import ColumnError, names
from .load import LoadError, Located
from .registry import DATASETS, REASONING_GYM, DataSet, Example, reference_table
from .request import PrepareError, Request
from .templates import TEMPLATES
from .write import MANIFEST, intact, new_folder, read_manifest, row, write_parquet

#: Part of the manifest's key. Raise it after a change of this package that changes the rows.
FORMAT_VERSION = 2


def _rows(request: Request, entry: DataSet, split: str, path: Path | None) -> Iterator[Located]:
    if entry.hub == REASONING_GYM:
        return ((f"{entry.name}, row {i}", row) for i, row in enumerate(gym.rows(entry, split, request.seed)))
    own = entry is request.entry
    # The path was given for the data set itself. If it is a mirror, it may hold evaluation sets too, under their names.
    mirror_only = not own and path is not None and path == request.local_path
    return load.located_rows(entry, split, path, request.revision if own else None, mirror_only=mirror_only)


def _examples(entry: DataSet, split: str, rows: Iterable[Located]) -> Iterator[Example | None]:
    """The examples of a split; None for a row without an answer. A split without any answer is an error."""
    read = usable = 0
    where, columns = "", ""
    for where, found in rows:
        try:
            example = entry.read(found)
        except ColumnError as error:
            raise PrepareError(f"{where}, {error}") from error
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            columns = names(found)
            raise PrepareError(
                f"{where}: is not as published ({type(error).__name__} {error}); the columns found are {columns}"
            ) from error
        read, usable, columns = read + 1, usable + (example is not None), names(found)
        yield example
    if not read:
        raise PrepareError(f"{entry.name} {split}: the copy has no rows")
    if not usable:
        raise PrepareError(
            f"{entry.name} {split}: not one of {read:,} rows holds an answer (the last is {where}); the columns found "
            f"are {columns}"
        )


def _check_size(request: Request, entry: DataSet, split: str, read: int) -> list[str]:
    """A warning if the number of rows is not the published one. It is an error unless partial data are accepted."""
    published = entry.splits[split][1]
    if read == published:
        return []
    said = f"{entry.name} {split} has {read:,} rows, published are {published:,}"
    if not request.allow_partial:
        raise PrepareError(f"{said}: complete the copy, or accept it with --allow-partial")
    return [said]


def _held_out(request: Request) -> tuple[dict[str, set[bytes]], list[str]]:
    """The keys of the questions of each evaluation set, and a warning for each set that is incomplete."""
    held: dict[str, set[bytes]] = {}
    partial: list[str] = []
    for name, path in request.holdouts().items():
        entry = DATASETS[name]
        try:
            found = list(_examples(entry, "test", _rows(request, entry, "test", path)))
        except LoadError as error:
            raise LoadError(
                f"the training set is checked against {name}: {error}. Give --holdout {name}=PATH for a copy, or "
                "other names to check against, or --holdout none"
            ) from error
        partial += _check_size(request, entry, "test", len(found))
        held[name] = dedup.keys(example for example in found if example)
    if request.entry.hub == REASONING_GYM and {"train", "test"} <= set(request.split):
        found = _examples(request.entry, "test", _rows(request, request.entry, "test", None))
        held["test"] = dedup.keys(example for example in found if example)
    return held, partial


def _fingerprint(request: Request) -> list[Any]:
    """What the result depends on apart from the settings: names, sizes and times of the local files.

    For a task of reasoning-gym it is the version of the package, the sizes and the seed.
    """
    if request.entry.hub == REASONING_GYM:
        return [gym.version(), request.size, request.test_size, request.seed]
    places = [(request.entry, split, request.local_path, False) for split in request.split]
    for name, path in request.holdouts().items():
        places.append((DATASETS[name], "test", path, name != request.dataset and path == request.local_path))
    stamps = []
    for entry, split, path, mirror_only in places:
        files = load.local_files(entry, split, path, mirror_only=mirror_only) if path and path.exists() else []
        for _, file in files:
            for part in sorted(file.rglob("*")) if file.is_dir() else [file]:
                stamps.append([entry.name, split, str(part), part.stat().st_size, part.stat().st_mtime_ns])
    return stamps


def _key(request: Request) -> str:
    template = TEMPLATES[request.template]
    parts = [FORMAT_VERSION, request.dataset, request.split, template.text, template.system, request.revision]
    parts += [sorted((name, str(path)) for name, path in request.holdouts().items()), _fingerprint(request)]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def prepare(request: Request, out: Path, *, force: bool = False, progress: bool = True) -> tuple[dict[str, Any], bool]:
    """Write the folder, unless it holds the result of the same request already.

    Args:
        request: what to prepare.
        out: the folder.
        force: write it again even if it is there.
        progress: show a progress bar.

    Returns:
        The manifest, and whether the folder was there already.

    Raises:
        PrepareError: a setting cannot work, or the data differ from what was published.
        LoadError: the data are not there, or cannot be read.
        FileExistsError: ``out`` holds files that this command did not write; ``force`` does not replace those. Or it
            holds another data set, and ``force`` is not given.
    """
    key, manifest = _key(request), read_manifest(out)
    accepted = manifest and manifest["key"] == key and (request.allow_partial or not manifest["partial"])
    if accepted and not force and intact(out, manifest):
        return manifest, True
    if manifest is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"--out {out} exists and was not written by this command: choose another folder")
    if manifest and manifest["dataset"] != request.dataset and not force:
        raise FileExistsError(
            f"--out {out} holds {manifest['dataset']}: choose another folder, or --force to replace it"
        )
    with new_folder(out) as work:
        manifest = {"key": key, **_write(request, work, progress)}
        (work / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest, False


def _write(request: Request, folder: Path, progress: bool) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    entry, template = request.entry, TEMPLATES[request.template]
    held, partial = _held_out(request)
    files, splits = {}, {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        for split in request.split:
            published = entry.splits[split][1]
            task = bar.add_task(f"{entry.name} {split}", total=published)
            kept, report = _read_split(request, split, held, lambda read, task=task: bar.update(task, completed=read))
            partial += [said for said in _check_size(request, entry, split, report["read"]) if said not in partial]
            name = f"{split}.parquet"
            rows = (row(found, i, split, entry.source, entry.ability, template) for i, found in kept)
            files[name] = write_parquet(rows, folder / name)
            splits[split] = {"published": published, **report, "written": len(kept)}
    source = str(request.local_path) if request.local_path else entry.hub
    described = {"dataset": request.dataset, "data_source": entry.source, "template": request.template}
    described |= {"from": source, "revision": request.revision, "holdouts": sorted(held)}
    return {**described, "partial": partial, "splits": splits, "files": files}


def _read_split(
    request: Request, split: str, held: dict[str, set[bytes]], tick: Any
) -> tuple[list[tuple[int, Example]], dict[str, Any]]:
    """The rows of one split that are kept, with their published index, and the number left out for each reason."""
    chosen = dedup.Filter(held) if split == "train" else None
    everything: list[tuple[int, Example]] = []
    read = unusable = 0
    entry = request.entry
    for index, example in enumerate(_examples(entry, split, _rows(request, entry, split, request.local_path))):
        read += 1
        if read % 64 == 0:
            tick(read)
        if example is None:
            unusable += 1
        elif chosen:
            chosen.add(index, example)
        else:
            everything.append((index, example))
    tick(read)
    kept = chosen.result() if chosen else everything
    report = {"read": read, "unusable": unusable, **(chosen.report() if chosen else {})}
    if not kept:
        raise PrepareError(f"{entry.name} {split}: no row is left of {read:,}: {json.dumps(report)}")
    return kept, report


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", help=f"one of {', '.join(DATASETS)}, {REASONING_GYM}:TASK")
    parser.add_argument("--out", type=Path, help="folder to write")
    parser.add_argument("--list", action="store_true", help="print the table of data sets")
    parser.add_argument("--local-path", type=Path, help="file, folder or mirror to read instead of the hub")
    parser.add_argument("--revision", help="revision of the repository on the hub")
    parser.add_argument("--template", choices=TEMPLATES, help="prompt template (default: the data set's)")
    parser.add_argument("--split", action="append", default=[], help="only this split; may be repeated")
    parser.add_argument(
        "--holdout",
        action="append",
        default=[],
        metavar="NAME[=PATH]",
        help="evaluation set whose questions are kept out of the training set; may be repeated; 'none' turns this off "
        "(default: all evaluation sets of mathematics for a mathematical training set, none for others)",
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="accept another number of rows than the published one"
    )
    parser.add_argument("--force", action="store_true", help="write the files again even if they are there")
    parser.add_argument("--size", type=int, default=1000, help=f"training problems ({REASONING_GYM} only)")
    parser.add_argument("--test-size", type=int, default=200, help=f"test problems ({REASONING_GYM} only)")
    parser.add_argument("--seed", type=int, default=0, help=f"seed of the problems ({REASONING_GYM} only)")
    args = parser.parse_args(argv)
    if not args.list and (args.dataset is None or args.out is None):
        parser.error("--dataset and --out are required")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.list:
        print(reference_table())
        return 0
    out = args.out.expanduser().resolve()
    try:
        request = Request(
            dataset=args.dataset,
            local_path=args.local_path and args.local_path.expanduser().resolve(),
            template=args.template,
            split=tuple(args.split),
            holdout=tuple(args.holdout),
            allow_partial=args.allow_partial,
            revision=args.revision,
            size=args.size,
            test_size=args.test_size,
            seed=args.seed,
        )
        manifest, cached = prepare(request, out, force=args.force, progress=sys.stderr.isatty())
    except (PrepareError, LoadError, FileExistsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for said in manifest["partial"]:
        print(f"warning: {said}", file=sys.stderr)
    rows = ", ".join(f"{split['written']:,} {name}" for name, split in manifest["splits"].items())
    print(f"{out}: {'already prepared' if cached else 'prepared'}; {rows} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
