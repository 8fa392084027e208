"""Runs several vLLM engines at the same time, one process for each: assigns GPUs and collects the results."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two checks of the files that the engines write.
_POLL = 1.0
#: Maximal number of failures that are printed.
_SHOWN = 5


def visible_devices() -> list[str]:
    """GPUs of this machine that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()  # does not initialize CUDA
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def device_groups(devices: Sequence[str], tensor_parallel: int, engines: int | None = None) -> list[list[str]]:
    """The GPUs of each engine; without GPUs one engine, or the number that was asked for, with no GPUs each.

    Raises:
        ValueError: there are not enough GPUs.
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
def locked(out: Path, name: str = ".lock") -> Iterator[int]:
    """Lock a folder against other calls. Child processes that inherit the file descriptor hold the lock, too.

    Args:
        name: name of the lock file, if a call needs only a part of the folder.

    Raises:
        ValueError: another call is writing there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"--out={out}: another call is writing there") from error
        yield file.fileno()


def spread(
    draw_here: Callable[[Callable[[int], Callable[[], None]]], list[str]],
    command: Sequence[str],
    out: Path,
    parts: Callable[[tuple[int, int]], list[Path]],
    groups: Sequence[Sequence[str]],
    lock: int,
    todo: int,
    things: str,
    console: Console,
) -> list[str]:
    """Do the work in this process if there is one engine, otherwise in one process for each; with a progress bar.

    Args:
        draw_here: does all the work. When its engine has started, it calls its argument with the number of pieces of
            work; it calls the function that this returns after each piece.
        command, out, parts, groups, lock: see :func:`run_processes`.
        todo: number of pieces of work.
        things: name of the pieces in messages.

    Returns:
        The failures, one line each.
    """
    with ExitStack() as stack:

        def bar(label: str, total: int) -> tuple[Progress, int]:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            progress = stack.enter_context(Progress(*columns, console=console))
            return progress, progress.add_task(label, total=total)

        def started(total: int) -> Callable[[], None]:
            # Only after the engine has started: the bar has a thread, and the engine may fork.
            progress, task = bar(things, total)
            return lambda: progress.advance(task)

        if len(groups) == 1:
            return draw_here(started)
        progress, task = bar(f"{things}, {len(groups)} engines", todo)
        return run_processes(command, out, parts, groups, lock, lambda done: progress.update(task, completed=done))


def run_processes(
    command: Sequence[str],
    out: Path,
    parts: Callable[[tuple[int, int]], list[Path]],
    groups: Sequence[Sequence[str]],
    lock: int,
    tick: Callable[[int], None],
) -> list[str]:
    """Run a command once for each group of GPUs, and wait for all, even if some fail.

    Args:
        command: the command, to which ``--shard I/N`` is added.
        out: its folder; the output of the processes goes to ``logs`` in it.
        parts: gives, for ``(I, N)``, the files to which process I of N writes one line for each piece of work.
        lock: descriptor of the lock file, which the processes inherit.
        tick: called regularly with the number of lines that were written.

    Returns:
        One line for each process that failed.
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


def draw_share(share: str, draw: Callable[[int, int, Callable[[int], Callable[[], None]]], list[str]]) -> int:
    """The work of the process of one engine: draws its share ``I/N``, without a bar. Returns the exit status."""
    shard, shards = map(int, share.split("/"))
    failures = draw(shard, shards, lambda total: lambda: None)
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def print_failures(failures: Sequence[str], things: str = "failures") -> None:
    """Print the first failures, and the number of the others."""
    for failure in failures[:_SHOWN]:
        print(f"verl_gpo: {failure}", file=sys.stderr)
    if len(failures) > _SHOWN:
        print(f"verl_gpo: {len(failures) - _SHOWN} more {things}", file=sys.stderr)


def exit_status(run: Callable[[], int]) -> int:
    """Run a command that can be resumed, and return its exit status. An error or an interruption is one line."""
    try:
        return run()
    except ValueError as error:
        print(f"verl_gpo: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("verl_gpo: interrupted; run the command again to continue", file=sys.stderr)
        return 130


class _LineCounter:
    """Counts the lines of growing files; each byte is read once."""

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
