"""Several vLLM engines side by side, a process each: which GPUs one has, and what becomes of what it writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Seconds between two looks at what the engines have written.
_POLL = 1.0


def visible_devices() -> list[str]:
    """GPUs of this machine that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()  # starts nothing on them
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def device_groups(devices: Sequence[str], tensor_parallel: int, engines: int | None = None) -> list[list[str]]:
    """The GPUs of each engine; on a CPU one engine without, or as many as were asked for.

    Raises:
        ValueError: there are not enough of them.
    """
    if not devices:
        if tensor_parallel > 1:
            raise ValueError(f"--tensor-parallel-size={tensor_parallel}: this machine has no GPU")
        return [[] for _ in range(engines or 1)]
    possible = len(devices) // tensor_parallel
    if not possible:
        raise ValueError(f"--tensor-parallel-size={tensor_parallel}: this machine has {len(devices)} GPUs")
    if (engines or 1) > possible:
        raise ValueError(f"--engines={engines}: {len(devices)} GPUs are enough for {possible}")
    return [list(devices[i * tensor_parallel : (i + 1) * tensor_parallel]) for i in range(engines or possible)]


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Keep other calls out of a folder; the processes that inherit the file number keep them out as well.

    Raises:
        ValueError: one is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"--out={out}: another call is writing there") from error
        yield file.fileno()


def run_processes(
    command: Sequence[str],
    out: Path,
    parts: Callable[[tuple[int, int]], list[Path]],
    groups: Sequence[Sequence[str]],
    lock: int,
    tick: Callable[[int], None],
) -> list[str]:
    """Run a command once for each group of GPUs, and wait for all, whatever becomes of some.

    Args:
        command: it is given ``--shard I/N`` besides.
        out: its folder; what the processes print goes to ``logs`` in it.
        parts: the files that process I of N writes a line to for each piece of work, given ``(I, N)``.
        lock: number of the locked file, which the processes inherit.
        tick: called now and then with the number of lines that were written.

    Returns:
        What went wrong, a line for each process that did not end well.
    """
    count = len(groups)
    logs = [out / "logs" / f"shard-{shard}-of-{count}.log" for shard in range(count)]
    logs[0].parent.mkdir(exist_ok=True)
    processes: list[subprocess.Popen] = []
    try:
        for shard, (group, log) in enumerate(zip(groups, logs, strict=True)):
            devices = {"CUDA_VISIBLE_DEVICES": ",".join(group)} if group else {}
            with log.open("wb") as output:
                processes.append(
                    subprocess.Popen(
                        [*command, "--shard", f"{shard}/{count}"],
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env={**os.environ, **devices},
                        pass_fds=(lock,),
                    )
                )
        counter = _LineCounter([path for shard in range(count) for path in parts((shard, count))])
        while any(process.poll() is None for process in processes):
            time.sleep(_POLL)
            tick(counter.count())
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
    return [
        f"engine {shard} of {count} ended with status {process.returncode}: see {log}"
        for shard, (process, log) in enumerate(zip(processes, logs, strict=True))
        if process.returncode
    ]


class _LineCounter:
    """Lines of growing files, each byte read once."""

    def __init__(self, paths: Sequence[Path]):
        self._read = dict.fromkeys(paths, 0)
        self._lines = 0

    def count(self) -> int:
        for path, position in self._read.items():
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(position)
                while block := file.read(1 << 20):
                    self._lines += block.count(b"\n")
                    self._read[path] += len(block)
        return self._lines
