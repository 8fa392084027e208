"""One process imports torch, verl and vLLM; Ray's worker processes are forked from it.

Each of the ten processes of a run imports the same modules, for 15 to 35 s of CPU time, most of them one after the
other. On GPU nodes with many cores nobody notices; on two cores it is most of the start-up. Here Ray is given a Python
executable (``runtime_env.py_executable``, a documented setting) that is the *launcher* below: it hands its arguments,
environment and standard streams to the *server*, which has everything imported and forks.

Used on the CPU, for a local Ray only. When anything is amiss the launcher starts Python the ordinary way.
``ray_kwargs.ray_init.runtime_env.py_executable=...`` of your own switches it off.

This file is the launcher's program too: at module level it may import only what starts in no time.
"""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import sys

#: Imported before the first fork: what the worker processes of a run import, by the order of their need.
PRELOAD = (
    "verl",
    "verl.trainer.ppo.v1",
    "verl.workers.engine",
    "verl.experimental.reward_loop",
    "verl.workers.rollout.vllm_rollout.vllm_async_server",
    "verl_gpo.plugin.worker",
    "ray._private.workers.default_worker",
)


def python_command() -> str:
    """The command that a local Ray, which is about to start, is to use for Python."""
    import shlex
    import tempfile

    address = os.path.join(tempfile.mkdtemp(prefix="verl_gpo_"), "zygote")
    return shlex.join([sys.executable, "-I", "-S", os.path.abspath(__file__), address])


# ---------------------------------------------------------------------------------------------------------- launcher


def launch(address: str, argv: list[str]) -> int:
    """Have the server fork a process that runs ``argv``, and live and end with it. Returns its exit status."""
    try:
        connection = _connect(address)
        request = json.dumps({"argv": argv, "env": dict(os.environ), "cwd": os.getcwd()}).encode()
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        if _receive(connection, 1) != b"+":  # blocks until the server has imported everything
            raise OSError("the server cannot fork")
    except OSError:
        os.execv(sys.executable, [sys.executable, *argv])
    status = _receive(connection, 8)
    return int.from_bytes(status, "big", signed=True) if len(status) == 8 else 1


def _connect(address: str) -> socket.socket:
    """Connect to the server; the first launcher starts it.

    That gives the server a worker's environment, of which Ray reads the job, its daemon's process and the mode of
    authentication at import.
    """
    import fcntl
    import subprocess

    with open(address + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(address):
            server = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), address],
                stdin=subprocess.DEVNULL,
                env={"OMP_NUM_THREADS": "1", **os.environ},  # the number of threads that Ray gives its workers
                start_new_session=True,
            )
            while not os.path.exists(address) and server.poll() is None:
                select.select([], [], [], 0.01)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (part := connection.recv(count - len(data))):
        data += part
    return data


# ------------------------------------------------------------------------------------------------------------ server


def serve(address: str) -> None:
    """Import everything, then fork on request, for as long as Ray's daemon lives."""
    import gc
    import importlib

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen(128)
    os.rename(address + ".new", address)  # from here on launchers find it, and wait

    with _generator_of_ray_unused():
        for name in PRELOAD:
            importlib.import_module(name)
    can_fork = not _other_threads()
    if not can_fork:
        print(f"verl_gpo: workers are not forked, imports left threads: {_other_threads()}", flush=True)
    gc.collect()
    gc.freeze()

    children: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    raylet = f"/proc/{os.environ.get('RAY_RAYLET_PID', os.getppid())}"
    while os.path.exists(raylet):
        readable, _, _ = select.select([listener, woken, *children.values()], [], [], 1.0)
        if woken in readable:
            os.read(woken, 4096)
            _report_ended(children)
        for pid, connection in list(children.items()):
            if connection in readable and _hung_up(connection):  # the launcher was killed: so is its process
                os.kill(pid, signal.SIGKILL)
                del children[pid]
                connection.close()
        if listener in readable:
            connection, _ = listener.accept()
            if not can_fork:
                connection.close()
                continue
            streams: list[int] = []
            try:
                header, streams, _, _ = socket.recv_fds(connection, 8, 3)
                request = json.loads(_receive(connection, int.from_bytes(header, "big")))
            except (OSError, ValueError):  # the launcher was killed before it had asked
                for stream in streams:
                    os.close(stream)
                connection.close()
                continue
            pid = os.fork()
            if pid == 0:
                for other in (listener, connection, *children.values()):
                    other.close()
                _become(request, streams)
            for stream in streams:
                os.close(stream)
            with contextlib.suppress(OSError):  # the launcher was killed meanwhile: the next look finds that out
                connection.sendall(b"+")
            children[pid] = connection

    for path in (address, address + ".lock"):
        with contextlib.suppress(OSError):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(address))


@contextlib.contextmanager
def _generator_of_ray_unused():
    """Let no import use Ray's generator of random ids, so that each forked process seeds its own.

    ``ray.actor.ActorClassID`` is patched while the modules are imported.

    Reason: Ray's generator is seeded at its first use, and not again after a fork. Each class with ``@ray.remote`` uses
    it, so the forked processes would draw the same ids: two rollout workers would send tasks with the same id to one
    actor, whose process Ray then aborts (``core_worker.cc``, "Check failed: erased == 1"). No upstream issue is known.
    Remove when: Ray seeds its generator after a fork, or draws a class's id in another way.
    """
    import ray.actor

    drawn = ray.actor.ActorClassID

    class FromSystem:
        @staticmethod
        def from_random():
            return drawn(os.urandom(drawn.size()))

    ray.actor.ActorClassID = FromSystem
    try:
        yield
    finally:
        ray.actor.ActorClassID = drawn


def _hung_up(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except OSError:  # it ended with something left to read
        return True


def _other_threads() -> list[str]:
    """Threads that forbid a fork: it copies one thread only, and what another one holds would be held for ever.

    pyarrow's jemalloc has a thread of its own, and handlers that make a fork safe.
    """
    tasks = set(os.listdir("/proc/self/task")) - {str(os.getpid())}
    names = [pathlib.Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in tasks]
    return [name for name in names if not name.startswith("jemalloc")]


def _report_ended(children: dict[int, socket.socket]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        connection = children.pop(pid, None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
            connection.close()


def _become(request: dict, streams: list[int]) -> None:
    """In the forked process: turn into ``python argv...`` with the launcher's environment and streams. No return."""
    import runpy
    import traceback

    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ray takes a dead worker's process group down: not all workers' one
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        import numpy

        numpy.random.seed()  # Python's own generator does this by itself after a fork
        script = request["argv"][0]
        sys.argv = request["argv"]
        sys.path[0] = os.path.dirname(os.path.abspath(script))
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(launch(sys.argv[1], sys.argv[2:]))
