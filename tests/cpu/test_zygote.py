"""The launcher and the server that forks: a forked process is, to its caller, the ordinary one."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from verl_gpo.cpu import zygote

FILE = Path(zygote.__file__)

#: The module as a program, with something light to import. Popen of the server names the file itself, hence no patch.
SERVER = """
import sys, importlib.util
spec = importlib.util.spec_from_file_location("zygote", sys.argv[1])
zygote = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zygote)
zygote.PRELOAD = ("json", "numpy", *sys.argv[3:])
zygote.serve(sys.argv[2])
"""

SHOWS = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv, "env": os.environ.get("GIVEN"), "absent": os.environ.get("RAY_RAYLET_PID"), "cwd": os.getcwd(),
    "name": __name__, "path": sys.path[0], "parent": os.getppid(), "stdin": sys.stdin.read(),
}))
print("to stderr", file=sys.stderr)
"""


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def start(tmp_path):
    """``start(*modules)``: a server with them preloaded, whose "raylet" is a process of the test's. (server, raylet)"""
    started = []

    def begin(*modules):
        raylet = subprocess.Popen(["sleep", "600"])
        environment = {**os.environ, "RAY_RAYLET_PID": str(raylet.pid), "PYTHONPATH": str(tmp_path)}
        # one thread of BLAS: any other forbids the fork
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(FILE), str(tmp_path / "zygote"), *modules],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.extend([server, raylet])
        assert wait_for((tmp_path / "zygote").exists)
        return server, raylet

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def program(tmp_path):
    """``program(text, *arguments)``: the launcher's command line to run the text."""

    def write(text, *arguments):
        script = tmp_path / "program.py"
        script.write_text(text)
        return [sys.executable, "-I", "-S", str(FILE), str(tmp_path / "zygote"), str(script), *arguments]

    return write


def run(command, **settings):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **settings)


def test_a_forked_program_sees_what_an_ordinary_one_sees(start, program, tmp_path):
    import json

    server, _ = start()
    (tmp_path / "elsewhere").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "RAY_RAYLET_PID"} | {"GIVEN": "a b"}
    result = run(program(SHOWS, "--one", "two three"), cwd=tmp_path / "elsewhere", env=environment, input="typed")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "argv": [str(tmp_path / "program.py"), "--one", "two three"],
        "env": "a b",
        "absent": None,  # the launcher's environment, not the server's
        "cwd": str(tmp_path / "elsewhere"),
        "name": "__main__",
        "path": str(tmp_path),
        "parent": server.pid,  # it was forked indeed
        "stdin": "typed",
    }
    assert result.stderr == "to stderr\n"


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("pass", 0, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('the reason')", 1, ""),
        ("raise ValueError('the reason')", 1, "ValueError: the reason"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("this is no python", 1, "SyntaxError"),
    ],
)
def test_exit_status(start, program, text, status, says):
    start()
    result = run(program(text))
    assert result.returncode == status
    assert says in result.stderr


def test_the_text_of_an_exit_is_printed(start, program):
    start()
    assert "the reason" in run(program("import sys; sys.exit('the reason')")).stderr


def test_a_program_killed_by_a_signal_is_no_success(start, program):
    start()
    assert run(program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).returncode != 0


def test_forked_programs_draw_ids_of_their_own(start, program, tmp_path):
    """Though a module that was imported before the fork has a class of Ray's, as verl's modules have."""
    (tmp_path / "has_an_actor.py").write_text("import ray\n\n@ray.remote\nclass Actor:\n    pass\n")
    server, _ = start("has_an_actor")
    show = "import os, ray.actor as a; print(a.ray.ObjectID.from_random().hex(), os.getppid(), a.ActorClassID.__name__)"
    shown = [run(program(show)).stdout.split() for _ in range(3)]
    assert [one[1:] for one in shown] == [[str(server.pid), "ActorClassID"]] * 3  # forked, and without the patch
    assert len({one[0] for one in shown}) == 3


def test_several_programs_at_once_each_get_their_own_status(start, program):
    start()
    command = program("import sys, time; time.sleep(float(sys.argv[1])); sys.exit(int(sys.argv[2]))")
    running = [subprocess.Popen([*command, str(seconds), str(n)]) for n, seconds in ((3, 0.6), (4, 0.0), (5, 0.3))]
    assert [process.wait(timeout=60) for process in running] == [3, 4, 5]


def test_forked_programs_draw_different_random_numbers(start, program):
    start()
    command = program("import random, numpy; print(random.random(), numpy.random.random())")
    (one, first), (other, second) = (run(command).stdout.split() for _ in range(2))
    assert one != other and first != second


def test_killing_the_launcher_kills_its_program(start, program):
    start()
    command = program("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(launcher.stdout.readline())
    assert child != launcher.pid and alive(child)
    launcher.kill()
    launcher.wait()
    assert wait_for(lambda: not alive(child))


def test_the_server_goes_on_after_a_launcher_was_killed(start, program):
    start()
    launcher = subprocess.Popen(
        program("print('up', flush=True); import time; time.sleep(600)"), stdout=subprocess.PIPE
    )
    launcher.stdout.readline()
    launcher.kill()
    launcher.wait()
    assert run(program("import sys; sys.exit(9)")).returncode == 9


def test_a_launcher_killed_while_the_server_imports_does_no_harm(start, program, tmp_path):
    (tmp_path / "slow.py").write_text("import time; time.sleep(2)")
    server, _ = start("slow")
    launcher = subprocess.Popen(program("import time; time.sleep(600)"))
    time.sleep(1)  # its request is sent, nobody has read it
    launcher.kill()
    launcher.wait()
    result = run(program("import os, sys; print(os.getppid()); sys.exit(9)"))
    assert server.poll() is None
    assert result.returncode == 9 and int(result.stdout) == server.pid


def test_a_connection_that_asks_for_nothing_does_no_harm(start, program, tmp_path):
    server, _ = start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "zygote"))
    result = run(program("import os, sys; print(os.getppid()); sys.exit(9)"))
    assert server.poll() is None
    assert result.returncode == 9 and int(result.stdout) == server.pid


def test_the_server_ends_with_its_raylet(start, program):
    server, raylet = start()
    assert run(program("pass")).returncode == 0
    assert server.poll() is None
    raylet.kill()
    raylet.wait()
    assert server.wait(timeout=10) == 0


def test_without_a_fork_python_starts_the_ordinary_way(start, program, tmp_path):
    (tmp_path / "has_a_thread.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    server, _ = start("has_a_thread")
    result = run(program("import os, sys; print(os.getppid(), sys.argv[1]); sys.exit(6)", "given"))
    assert result.returncode == 6
    parent, given = result.stdout.split()
    assert given == "given" and int(parent) == os.getpid()
    server.kill()
    assert "workers are not forked" in server.stdout.read()


def test_a_dead_socket_starts_python_the_ordinary_way(start, program):
    server, _ = start()
    server.kill()
    server.wait()
    result = run(program("import os, sys; print(os.getppid()); sys.exit(6)"))  # nobody listens on the socket any more
    assert result.returncode == 6 and int(result.stdout) == os.getpid()


def test_a_server_that_fails_to_import_starts_python_the_ordinary_way(start, program, tmp_path):
    (tmp_path / "cannot_be_imported.py").write_text("raise RuntimeError('broken install')\n")
    start("cannot_be_imported")
    assert run(program("import sys; sys.exit(5)")).returncode == 5


def test_the_first_launcher_starts_the_server_and_the_next_finds_it(program, tmp_path):
    # A copy of the file with a light PRELOAD: the launcher starts the server by its own file's name.
    text = FILE.read_text()
    first, last = text.index("PRELOAD = ("), text.index("\n)\n", text.index("PRELOAD = (")) + 2
    copy = tmp_path / "zygote.py"
    copy.write_text(text[:first] + 'PRELOAD = ("json", "numpy")' + text[last:])
    raylet = subprocess.Popen(["sleep", "600"])
    environment = {**os.environ, "RAY_RAYLET_PID": str(raylet.pid), "OPENBLAS_NUM_THREADS": "1"}
    command = program("import os; print(os.getppid())")
    command[3] = str(copy)
    try:
        # Into files: the server keeps the first launcher's streams, so a pipe would stay open as long as it lives.
        outputs = [tmp_path / f"output{number}" for number in range(3)]
        running = [subprocess.Popen(command, env=environment, stdout=output.open("w")) for output in outputs]
        assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
        parents = {int(output.read_text()) for output in outputs}
        assert len(parents) == 1 and parents != {os.getpid()}  # all forked from one server
        (server,) = parents
        assert alive(server)
    finally:
        raylet.kill()
        raylet.wait()
    assert wait_for(lambda: not alive(server))


def test_the_command_runs_this_file_and_starts_in_no_time(tmp_path, monkeypatch):
    import shlex

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    python, *flags, file, address = shlex.split(zygote.python_command())
    assert (python, file) == (sys.executable, str(FILE))
    assert flags == ["-I", "-S"]  # neither site-packages nor the environment's paths
    assert Path(address).parent.is_dir() and not Path(address).exists()
    assert len(address) < 100  # the address of a socket is at most 107 bytes long


def test_sigterm_to_the_launcher_ends_the_program_too(start, program):
    start()
    command = program("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(launcher.stdout.readline())
    launcher.send_signal(signal.SIGTERM)
    launcher.wait(timeout=10)
    assert wait_for(lambda: not alive(child))
