"""A grading process. It reads requests as lines of JSON from standard input, and writes a reply to each.

Some formulas take SymPy forever (``9^{9^{9^9}}``), in part in C code that a Python exception does not interrupt, so
comparisons run here. There are two limits, both in CPU seconds, so that a busy machine does not change a grade. The
first raises an exception in Python. The second is a signal that ends the process; `pool` then starts another one. An
answer that reaches a limit of time or memory counts as wrong.
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

#: CPU seconds between the limit that raises an exception and the one that ends the process.
GRACE = 1.5
#: Address space of the process, bytes.
MEMORY = 4 << 30


class _Expired(BaseException):
    """The first limit was reached. It is not an Exception, since the libraries catch those."""


def score_gym(task: str, answer: str, entry: dict[str, Any]) -> float:
    """reasoning-gym's own score of an answer, in [0, 1].

    Args:
        task: name of the task.
        answer: the answer of a response.
        entry: the problem as the package generated it.
    """
    from reasoning_gym import get_score_answer_fn

    return float(get_score_answer_fn(task)(answer, entry))


#: Name of an operation to its function, and to the package that is imported before its first use, outside of the limit.
OPERATIONS = {"math": (verify_math, "math_verify"), "gym": (score_gym, "reasoning_gym")}


def _expire(signum: int, frame: Any) -> None:
    raise _Expired


def answer(request: dict[str, Any], limit: float) -> dict[str, Any]:
    """Run one request.

    Args:
        request: ``{"operation": name, "arguments": [...]}``.
        limit: CPU seconds that it may take.

    Returns:
        ``{"value": ...}``, or ``{"error": ...}`` with ``time`` or the name of the exception.
    """
    operation, package = OPERATIONS[request["operation"]]
    try:
        importlib.import_module(package)
        # The signal is sent again every half second, in case a bare `except:` of a library caught the first one.
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
    """Answer requests until standard input is closed; the only argument is the limit in CPU seconds."""
    limit = float(sys.argv[1])
    # Libraries print to standard output, so replies go to a copy of it, and whatever is printed to standard error.
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGVTALRM, _expire)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        verify_math("1", "x^2")  # loads the libraries and their parsers, outside of any limit
        print(json.dumps({"ready": True}), file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), limit)), file=replies, flush=True)


if __name__ == "__main__":
    main()
