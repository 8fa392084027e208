"""Several verl trainings in one Ray, one after the other: imports and Ray are started once for all of them.

    with SharedRay(log) as ray:
        subprocess.run(["bash", "recipes/arithmetic/run.sh", ...], env={**os.environ, **ray.environment})

The recipe runs ``$PYTHON $MAIN ARGUMENTS``. ``MAIN`` is this file's client here: it hands the arguments and its output
to a server, which composes and checks them as ``verl.trainer.main_ppo`` does, trains, and returns the exit status. What
a run owns ends with it: actors, engine, weights. For benchmarks of many short runs; your own needs none of it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Settings of the environment that a run may have for itself; the rest is the server's.
OF_A_RUN = ("VERL_FILE_LOGGER_PATH",)


class SharedRay:
    """A server process, started with the first training and ended with the block.

    A training that fails ends it, since nobody knows what is left in its Ray; the next one starts another.

    Args:
        log: where the server's own output goes.
    """

    def __init__(self, log: Path):
        self._folder = tempfile.TemporaryDirectory(prefix="shared_ray_")
        self._log = log

    def __enter__(self) -> SharedRay:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self._address)
                connection.sendall(_framed({"end": True}))
                connection.recv(8)
        except OSError:
            pass  # it never started, or has ended
        self._folder.cleanup()

    @property
    def _address(self) -> str:
        return str(Path(self._folder.name) / "socket")

    @property
    def environment(self) -> dict[str, str]:
        """For the recipe."""
        return {"MAIN": f"{Path(__file__).resolve()} {self._address} {self._log.resolve()}"}


# ------------------------------------------------------------------------------------------------------------ client


def submit(address: str, log: str, arguments: list[str]) -> int:
    """Have the server train, and wait. Returns the exit status."""
    import fcntl

    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(address + ".lock", "w") as lock:  # one training at a time, and one server
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = _connect(address, log)
        environment = {name: os.environ[name] for name in OF_A_RUN if name in os.environ}
        request = _framed({"arguments": arguments, "environment": environment, "cwd": os.getcwd()})
        socket.send_fds(connection, [request[:8]], [1, 2])
        connection.sendall(request[8:])
        status = connection.recv(8)
    return int.from_bytes(status, "big", signed=True) if len(status) == 8 else 1


def _connect(address: str, log: str) -> socket.socket:
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        return connection
    except OSError:  # none yet, or one that has ended
        Path(address).unlink(missing_ok=True)
    with open(log, "ab") as output:
        server = subprocess.Popen(
            [sys.executable, __file__, address],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while not os.path.exists(address):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}; its output: {log}")
        time.sleep(0.05)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


def _framed(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(8, "big") + data


# ------------------------------------------------------------------------------------------------------------ server


def serve(address: str, train: Any = None) -> None:
    """Train on request, until a training fails or the end is asked for."""
    train = train or train_with_verl
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen()
    os.rename(address + ".new", address)
    own = [os.dup(stream) for stream in (1, 2)]
    status = 0
    while status == 0:
        connection, _ = listener.accept()
        header, streams, _, _ = socket.recv_fds(connection, 8, 2)
        length = int.from_bytes(header, "big")
        data = b""
        while len(data) < length and (part := connection.recv(length - len(data))):
            data += part
        request = json.loads(data)
        if request.get("end"):
            break
        _speak_into(streams)
        try:
            os.chdir(request["cwd"])
            status = train(request["arguments"], request["environment"])
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        _speak_into([os.dup(stream) for stream in own])
        if status:
            os.unlink(address)  # the next client starts another
        connection.sendall(status.to_bytes(8, "big", signed=True))
        connection.close()
    listener.close()


def _speak_into(streams: list[int]) -> None:
    for target, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, target)
        os.close(stream)


def train_with_verl(arguments: list[str], environment: dict[str, str]) -> int:
    """One training, as ``python -m verl.trainer.main_ppo`` runs it, in the Ray of the trainings before it.

    Args:
        arguments: ``--config-path``, ``--config-name`` and overrides.
        environment: of this run's processes.
    """
    import verl.trainer.main_ppo as main_ppo
    from hydra import compose, initialize_config_dir

    options = dict(zip(arguments[0:4:2], arguments[1:4:2], strict=True))
    with initialize_config_dir(config_dir=os.path.abspath(options["--config-path"]), version_base=None):
        config = compose(options["--config-name"], overrides=arguments[4:])
    main_ppo.auto_set_device(config)
    main_ppo.validate_config(
        config=config,
        use_reference_policy=main_ppo.need_reference_policy(config),
        use_critic=main_ppo.need_critic(config),
    )
    runner = _Runner(main_ppo.TaskRunnerV1.options(runtime_env={"env_vars": environment}))
    main_ppo.run_ppo(config, task_runner_class=runner)
    runner.end()
    return 0


class _Runner:
    """verl's runner class, of which it makes one actor. Everything else that a training starts is owned by that."""

    def __init__(self, actor_class: Any):
        self._actor_class = actor_class
        self._actor: Any = None

    def remote(self) -> Any:
        self._actor = self._actor_class.remote()
        return self._actor

    def end(self, timeout: float = 120.0) -> None:
        """End the actor, and wait until what it held is free.

        Raises:
            TimeoutError: it is not.
        """
        import ray

        ray.kill(self._actor)
        # Ray takes the actors down with their owner, and leaves the resources reserved.
        for group in ray.util.placement_group_table().values():
            if group["state"] != "REMOVED":
                ray.util.remove_placement_group(ray.util.get_placement_group(group["name"]))
        until = time.monotonic() + timeout
        while ray.available_resources().get("GPU", 0) < ray.cluster_resources().get("GPU", 0):
            if time.monotonic() > until:
                raise TimeoutError(f"a training's resources are not free after {timeout:g} s")
            time.sleep(0.1)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(submit(sys.argv[1], sys.argv[2], sys.argv[3:]))
