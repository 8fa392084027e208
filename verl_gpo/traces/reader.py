"""Reads traces: as records, as single trajectories, or as a pandas frame.

    from verl_gpo.traces.reader import trace_frame
    frame = trace_frame("outputs/traces")
    frame.groupby("global_step")[["solved", "confidence", "position"]].mean()

The files are those of :mod:`~verl_gpo.traces.writer`, of any number of processes; they may still be written.

A training that was interrupted and resumed counts as one: it does the steps after its checkpoint again, and the records
of these steps that the interrupted training has written are left out.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .record import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


def trace_files(path: str | Path) -> list[Path]:
    """The trace files of a folder, by name, or the one file that was named.

    Raises:
        FileNotFoundError: neither a file nor a folder with traces.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl.gz")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise FileNotFoundError(f"{path}: no traces; they are files *.jsonl.gz")
    return files


def trace_lines(path: str | Path) -> Iterator[bytes]:
    """The complete lines of one file, up to the first part that cannot be read (incomplete or damaged)."""
    with Path(path).open("rb") as file:
        decoder, text, data = zlib.decompressobj(wbits=31), b"", b""
        while data := data or file.read(_CHUNK):
            try:
                text += decoder.decompress(data)
            except zlib.error as error:
                logger.warning("%s: unreadable from here on (%s)", path, error)
                return
            data = decoder.unused_data
            if decoder.eof:
                decoder = zlib.decompressobj(wbits=31)
            *lines, text = text.split(b"\n")
            yield from lines


def read_traces(path: str | Path, keep: range | set[int] | None = None) -> Iterator[dict[str, Any]]:
    """The records of a folder or a file, file by file.

    Args:
        path: see :func:`trace_files`.
        keep: numbers of the wanted records, counted over all files; None for all.

    Raises:
        FileNotFoundError: there are no traces.
        ValueError: a record of a later schema, or a line that is not a record; the message names its file.
    """
    files = trace_files(path)
    counts = _not_done_again(files)
    number = -1
    for file in files:
        for line in trace_lines(file):
            if counts is None:
                number += 1
                if keep is not None and number not in keep:
                    continue
            record = _record(file, line)
            if counts is not None:
                number += (counted := counts(record))
                if not counted or (keep is not None and number not in keep):
                    continue
            yield record


def _record(file: Path, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        version = record["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a trace record ({error!r})") from error
    if version > SCHEMA_VERSION:
        raise ValueError(f"{file}: schema {version}; this verl_gpo reads up to {SCHEMA_VERSION}")
    return record


def _not_done_again(files: list[Path]) -> Callable[[dict[str, Any]], bool] | None:
    """Whether a record counts, in a training that was started more than once; None if it was started once.

    A later start has done its steps again, and those prompts again that were under way at the checkpoint.
    """
    firsts = ((file, next(trace_lines(file), None)) for file in files)
    if len({_started(_record(file, line)) for file, line in firsts if line is not None}) < 2:
        return None
    first_step: dict[float, int] = {}
    last_start: dict[str, float] = {}
    for file in files:
        for line in trace_lines(file):
            record = _record(file, line)
            start, step, uid = _started(record), record.get("global_step"), record.get("uid")
            if step is not None:
                first_step[start] = min(step, first_step.get(start, step))
            if uid is not None:
                last_start[uid] = max(start, last_start.get(uid, start))

    def counts(record: dict[str, Any]) -> bool:
        start, step = _started(record), record.get("global_step")
        if last_start.get(record.get("uid"), start) > start:
            return False
        return step is None or all(step < first for later, first in first_step.items() if later > start)

    return counts


def _started(record: Mapping[str, Any]) -> float:
    return float(record.get("started") or 0.0)


def count_traces(path: str | Path) -> int:
    """Number of records; they are parsed only if the training was started more than once."""
    files = trace_files(path)
    counts = _not_done_again(files)
    lines = ((file, line) for file in files for line in trace_lines(file))
    return sum(1 if counts is None else counts(_record(file, line)) for file, line in lines)


def sample_traces(path: str | Path, limit: int = 0) -> tuple[list[dict[str, Any]], int]:
    """At most ``limit`` records, evenly spread over all of them (0: all), and the number of all records."""
    total = count_traces(path)
    if not limit or total <= limit:
        return list(read_traces(path)), total
    return list(read_traces(path, {number * total // limit for number in range(limit)})), total


def trajectories(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One flat mapping for each anchor of a record: its own fields, then the record's, then derived fields.

    Adds ``solved`` and ``reentered`` (whether rollouts from the anchor's states were trained on).
    """
    about = {key: value for key, value in record.items() if key != "anchors"}
    threshold = record.get("solved_reward")
    flat = []
    for anchor in record["anchors"]:
        solved = anchor["reward"] >= (0.5 if threshold is None else threshold)
        learnt = any(c["learnt"] for state in anchor["states"] for c in state["continuations"])
        flat.append({**about, **anchor, "solved": solved, "reentered": learnt})
    return flat


def trace_frame(path: str | Path) -> pandas.DataFrame:
    """All trajectories as a frame, ordered by training step.

    Columns: every field of a record and of its anchor (``steps``, ``states`` and ``usage`` hold objects), ``solved``,
    ``reentered``, and the numbers most asked for: ``n_steps``, ``critical_step``, ``position`` (0 first step, 1 last),
    ``critical_advantage``, ``confidence``, ``reentry_reward`` (mean reward of what was learnt), ``value_tokens``,
    ``reentry_tokens``, ``seconds`` (of both phases), and ``hit`` (1 where the choice is the true one, no critical step
    included; NaN where nobody knows). An empty frame has no columns.
    """
    import pandas

    rows = [row | _numbers(row) for record in read_traces(path) for row in trajectories(record)]
    frame = pandas.DataFrame(rows)
    keys = [key for key in ("global_step", "sample_index", "uid", "anchor") if key in frame]
    return frame.sort_values(keys, kind="stable", ignore_index=True) if keys else frame


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    critical = row["critical"] or {}
    step = critical.get("step")
    reentry = [c["reward"] for state in row["states"] for c in state["continuations"] if c["learnt"]]
    usage = row["usage"]
    return {
        "n_steps": len(row["steps"]),
        "critical_step": step,
        "position": None if step is None else step / max(len(row["steps"]) - 1, 1),
        "critical_advantage": critical.get("advantage"),
        "confidence": critical.get("confidence"),
        "reentry_reward": sum(reentry) / len(reentry) if reentry else None,
        "value_tokens": usage["value"]["tokens"],
        "reentry_tokens": usage["reentry"]["tokens"],
        "seconds": usage["value"]["seconds"] + usage["reentry"]["seconds"],
        "hit": float(step == row["true_critical"]) if "true_critical" in row else None,
    }
