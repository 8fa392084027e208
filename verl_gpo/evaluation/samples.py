"""The samples on disk: which exist, which are missing, and which engine draws them.

``samples/NAME.jsonl`` has a benchmark's samples, one in each line. Each engine appends to a file of its own,
``NAME.shard-I-of-N.jsonl``, which the next merge adds to it. So the samples from before a crash are kept, and another
number of engines can continue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..inference import jsonl

#: Start of ``finish`` for a problem whose prompt the engine cannot process; the reason follows.
REFUSED = "refused: "


class Task(NamedTuple):
    """One sample to be drawn."""

    benchmark: str
    index: int
    sample: int


@dataclass(frozen=True)
class Sample:
    """One response.

    Attributes:
        benchmark, index, sample: which benchmark, row of its file, and sample of that row, from 0.
        response: the text that was graded, special tokens left out.
        prediction: the answer read from it, "" if there is none; None if the reward function reports no answers.
        score, accuracy: see :class:`~verl_gpo.evaluation.grading.Verdict`.
        tokens: length, the end token included.
        finish: ``stop``, or ``length`` if it was cut off, or :data:`REFUSED` and why nothing could be drawn: such a
            sample has no response, and counts as one without an answer.
        problem: hash of the row's data source, chat and ground truth.
        settings: hash of the settings that the sample was drawn and graded with.
    """

    benchmark: str
    index: int
    sample: int
    response: str
    prediction: str | None
    score: float
    accuracy: float
    tokens: int
    finish: str
    problem: str
    settings: str

    @property
    def task(self) -> Task:
        return Task(self.benchmark, self.index, self.sample)

    def to_line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=True) + "\n"


def file_of(out: Path, benchmark: str, shard: tuple[int, int] | None = None) -> Path:
    """A benchmark's file, or the file of one engine."""
    part = f".shard-{shard[0]}-of-{shard[1]}" if shard else ""
    return out / "samples" / f"{benchmark.replace(':', '_')}{part}.jsonl"


def read_samples(path: Path) -> list[Sample]:
    """Samples of a file, as :func:`verl_gpo.inference.jsonl.read` reads them."""
    return jsonl.read(path, lambda record: Sample(**record), "sample")


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a file at once."""
    jsonl.replace(path, (sample.to_line() for sample in samples))


def merge(out: Path, benchmark: str) -> list[Sample]:
    """Merge the engines' files into the benchmark's own, each sample once, and return all."""
    own = file_of(out, benchmark)
    shares = sorted(own.parent.glob(f"{own.stem}.shard-*.jsonl"))
    samples = {sample.task: sample for path in reversed([own, *shares]) for sample in read_samples(path)}
    ordered = [samples[task] for task in sorted(samples)]
    if shares:
        write_samples(own, ordered)
        for path in shares:
            path.unlink()
    return ordered


def missing(benchmarks: Mapping[str, tuple[int, int]], done: Iterable[Task]) -> list[Task]:
    """The tasks that are still to be drawn; ``benchmarks`` maps names to (problems, samples of each)."""
    found = set(done)
    every = (Task(name, i, n) for name, (problems, k) in benchmarks.items() for i in range(problems) for n in range(k))
    return [task for task in every if task not in found]


def deal(tasks: Sequence[Task], shard: int, shards: int) -> list[Task]:
    """One engine's share. Samples are distributed one by one, so that all get equally many, of hard problems, too."""
    return list(tasks[shard::shards])


class Writer:
    """Context manager that appends samples to one engine's files."""

    def __init__(self, out: Path, shard: tuple[int, int]):
        self._out, self._shard = out, shard
        self._files: dict[str, IO[str]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def write(self, sample: Sample) -> None:
        if sample.benchmark not in self._files:
            path = file_of(self._out, sample.benchmark, self._shard)
            write_samples(path, read_samples(path))  # drops an incomplete last line
            self._files[sample.benchmark] = self._stack.enter_context(path.open("a", encoding="ascii"))
        file = self._files[sample.benchmark]
        file.write(sample.to_line())
        file.flush()  # no fsync: it would block the engine, and lost samples are drawn again
