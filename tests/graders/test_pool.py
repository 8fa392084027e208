"""The limits hold in threads, after kills and after a fork; the package stays free of frameworks."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from verl_gpo.graders import compute_score, pool

FOREVER = "9^{9^{9^{9}}}"


def test_many_threads_at_once_get_each_its_own_verdict():
    """As verl calls: from the threads of an executor, where signal.alarm raises."""
    questions = [(rf"({i}+x)^2", rf"x^2+{2 * i}x+{i * i + wrong}", not wrong) for i in range(1, 9) for wrong in (0, 1)]
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(compute_score, "math_dapo", rf"\boxed{{{pred}}}", gold) for gold, pred, _ in questions]
        assert [future.result()["acc"] for future in asked] == [float(right) for *_, right in questions]


def test_the_pool_survives_hopeless_answers_and_dying_workers(monkeypatch):
    own = pool.Pool(size=1, limit=0.5)
    try:
        # Python can be interrupted: the worker stays.
        assert own.run("math", "5", FOREVER) is None
        assert own.run("math", "x+1", "1+x") == 1.0
        assert own.run("math", "x+1", "2+x") == 0.0
        # One that died while idle says nothing of the answer: a new one decides.
        worker = own._slots.queue[0]
        worker.process.kill()
        worker.process.wait()
        assert own.run("math", "x+1", "1+x") == 1.0
        # One that is silent is killed, and there is no verdict.
        worker = own._slots.queue[0]
        monkeypatch.setattr(pool, "PATIENCE", 0.2)
        os.kill(worker.process.pid, signal.SIGSTOP)
        assert own.run("math", "x+1", "1+x") is None
        assert worker.process.returncode == -signal.SIGKILL and own._slots.queue[0] is None
    finally:
        own.close()


def test_the_kernel_ends_what_python_cannot_interrupt():
    """One long operation in C: the signal handler of the first limit never gets to run."""
    program = "from verl_gpo.graders import worker; worker.OPERATIONS['math'] = (lambda n: sum(range(n)), 'math'); "
    program += "worker.GRACE = 0.2; worker.signal.signal(worker.signal.SIGVTALRM, worker._expire); "
    program += "worker.answer({'operation': 'math', 'arguments': [10**10]}, 0.2)"
    began = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGPROF
    assert time.monotonic() - began < 30


def test_errors_name_what_is_missing(monkeypatch):
    monkeypatch.setattr(pool, "_pool", None)
    monkeypatch.setattr(pool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(pool.GraderError, match="pip install math-verify"):
        compute_score("math_dapo", r"\boxed{x+1}", "1+x")
    # Plain numbers need no package.
    assert compute_score("math_dapo", r"\boxed{5.0}", "5")["acc"] == 1.0


def test_a_worker_that_cannot_start_is_an_error(monkeypatch):
    monkeypatch.setattr(pool.sys, "executable", "/bin/false")
    with pytest.raises(pool.GraderError, match="did not start"):
        pool.Pool(size=1).run("math", "1", "x")


def test_size_and_limit_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("VERL_GPO_GRADER_WORKERS", "3")
    monkeypatch.setenv("VERL_GPO_GRADER_SECONDS", "0.25")
    own = pool.Pool()
    assert (own._slots.qsize(), own.limit) == (3, 0.25)


def test_a_forked_child_starts_its_own_workers():
    before = pool.shared()
    child = os.fork()
    if child == 0:
        os._exit(0 if pool._pool is None and not pool._lock.locked() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.shared() is before


IMPORTS = """
import importlib, pkgutil, sys
import verl_gpo.data, verl_gpo.graders
for package in (verl_gpo.data, verl_gpo.graders):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
heavy = {"verl", "ray", "vllm", "torch", "transformers", "hydra", "omegaconf", "tensordict"}
heavy |= {"sympy", "math_verify", "datasets", "pyarrow", "reasoning_gym"}  # those when they are needed
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_data_and_graders_import_no_framework():
    result = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
