"""A grading process: requests as JSON lines on standard input, verdicts on standard output.

SymPy can be asked for what takes forever (``9^{9^{9^9}}``), partly in C code that no Python exception interrupts, so
comparisons run here. The first limit, in CPU seconds so that a busy machine changes no verdict, raises in Python; the
second, in the kernel's hands, ends the process. `pool` starts it anew. An exhausted memory limit counts as wrong too.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from typing import Any

from .symbolic import verify_math

#: CPU seconds between the limit that raises and the one that kills.
GRACE = 1.5
#: Address space of the process, bytes.
MEMORY = 4 << 30


class _Expired(BaseException):
    """Not an Exception: the libraries catch those."""


def score_gym(task: str, answer: str, entry: dict[str, Any]) -> float:
    """reasoning-gym's own score of an answer."""
    from reasoning_gym import get_score_answer_fn

    return float(get_score_answer_fn(task)(answer, entry))


#: Name to function, and what it imports at its first use, outside the limit.
OPERATIONS = {"math": (verify_math, "math_verify"), "gym": (score_gym, "reasoning_gym")}


def _expire(signum: int, frame: Any) -> None:
    raise _Expired


def answer(request: dict[str, Any], limit: float) -> dict[str, Any]:
    """Run one request within ``limit`` CPU seconds: ``{"value"}``, or ``{"error"}`` saying what went wrong."""
    operation, package = OPERATIONS[request["operation"]]
    try:
        importlib.import_module(package)
        # Again after a while, should a bare `except:` have swallowed the first.
        signal.setitimer(signal.ITIMER_VIRTUAL, limit, 0.5)
        signal.setitimer(signal.ITIMER_PROF, limit + GRACE)
        try:
            return {"value": operation(*request["arguments"])}
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
    except _Expired:
        return {"error": "time"}
    except Exception as error:
        return {"error": type(error).__name__}


def main() -> None:
    limit = float(sys.argv[1])
    # Libraries print; the protocol keeps the real standard output for itself.
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGVTALRM, _expire)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        verify_math("1", "x^2")  # loads the libraries and their parsers, outside any limit
        print(json.dumps({"ready": True}), file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), limit)), file=replies, flush=True)


if __name__ == "__main__":
    main()
