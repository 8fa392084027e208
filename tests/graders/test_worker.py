"""One request in the grading process: its value, its error, and its limit in CPU seconds."""

import json
import signal
import subprocess
import sys
import time

import pytest

from verl_gpo.graders import worker


@pytest.fixture
def operation(monkeypatch):
    """``operation(function)``: answers to requests of the name ``test``, in this process."""
    before = signal.signal(signal.SIGVTALRM, worker._expire)

    def install(function, package="json"):
        monkeypatch.setitem(worker.OPERATIONS, "test", (function, package))
        return lambda *arguments, limit=5.0: worker.answer({"operation": "test", "arguments": arguments}, limit)

    yield install
    signal.signal(signal.SIGVTALRM, before)


def test_a_value_and_an_error_by_its_name(operation):
    assert operation(lambda a, b: a + b)(1, 2) == {"value": 3}
    assert operation(lambda: 1 / 0)() == {"error": "ZeroDivisionError"}
    assert operation(lambda: 1, "no_such_package")() == {"error": "ModuleNotFoundError"}


def test_what_takes_too_much_of_the_cpu_is_stopped(operation):
    def endless():
        while True:
            pass

    assert operation(endless)(limit=0.05) == {"error": "time"}


def test_an_error_that_swallows_exceptions_does_not_swallow_the_limit(operation):
    def stubborn():
        while True:
            try:
                sum(range(1000))
            except Exception:  # what libraries do
                continue

    assert operation(stubborn)(limit=0.05) == {"error": "time"}


def test_time_that_is_slept_does_not_count(operation):
    assert operation(lambda: time.sleep(0.2))(limit=0.05) == {"value": None}
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_the_process_answers_a_line_for_each_line():
    requests = [{"operation": "math", "arguments": ["x+1", pred]} for pred in ("1+x", "x+2")]
    result = subprocess.run(
        [sys.executable, "-m", "verl_gpo.graders.worker", "5"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines == [{"ready": True}, {"value": True}, {"value": False}], result.stderr
