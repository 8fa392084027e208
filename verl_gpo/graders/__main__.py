"""Check the graders on cases of your own.

    python -m verl_gpo.graders CASES.jsonl [MORE.jsonl ...]

Each line is a JSON object with the keys ``data_source``, ``ground_truth``, ``response`` and ``expected`` (1 for right,
0 for wrong), and, if the grader needs it, ``extra_info``:

    {"data_source": "openai/gsm8k", "ground_truth": "18", "response": "#### $18", "expected": 1}

The command prints each case whose grade is not the expected one, with the answer that was read from the response, and
for each data source the number of cases that agree. The exit status is 0 if all cases agree, 1 if some do not, and 2 if
a file cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from .gold import BadGroundTruth
from .pool import GraderError
from .score import UnknownDataSource, compute_score

_KEYS = ("data_source", "ground_truth", "response", "expected")
_SHOWN = 160


class CaseError(ValueError):
    """A file of cases that cannot be used; the message names file, line and key."""


def read_cases(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The cases of a file, each with the place where it was found, ``file:line``.

    Raises:
        CaseError: there is no such file, a line is not a JSON object, or a key is missing or has a wrong value.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CaseError(f"{path} cannot be read: {reason}") from None
    cases = [
        (f"{path}:{number}", _case(line, f"{path}:{number}")) for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not cases:
        raise CaseError(f"{path} holds no cases: each line must be a JSON object with the keys {', '.join(_KEYS)}")
    return cases


def _case(line: str, place: str) -> dict[str, Any]:
    try:
        case = json.loads(line)
    except json.JSONDecodeError as error:
        raise CaseError(f"{place} is not JSON: {error}") from None
    if not isinstance(case, dict):
        raise CaseError(f"{place} must be a JSON object with the keys {', '.join(_KEYS)}")
    for key in _KEYS:
        if key not in case:
            raise CaseError(f"{place} has no key {key!r}: needed are {', '.join(_KEYS)}")
    for key in ("data_source", "response"):
        if not isinstance(case[key], str):
            raise CaseError(f"{place}: {key}={case[key]!r} must be a text")
    if case["expected"] not in (0, 1):
        raise CaseError(f"{place}: expected={case['expected']!r} must be 0 or 1")
    if not isinstance(case.get("extra_info", {}), dict):
        raise CaseError(f"{place}: extra_info={case['extra_info']!r} must be an object")
    return case


def check(path: Path) -> tuple[list[str], Counter[str], Counter[str]]:
    """Grade the cases of a file.

    Returns:
        One line of text for each case whose grade is not the expected one; for each data source, the number of cases;
        and for each data source, the number of cases that agree.

    Raises:
        CaseError: the file cannot be used.
    """
    said, total, agreed = [], Counter(), Counter()
    for place, case in read_cases(path):
        source = case["data_source"]
        try:
            graded = compute_score(source, case["response"], case["ground_truth"], case.get("extra_info"))
        except (UnknownDataSource, BadGroundTruth) as error:
            raise CaseError(f"{place}: {error}") from None
        total[source] += 1
        if graded["acc"] == case["expected"]:
            agreed[source] += 1
        else:
            truth, read = (repr(value)[:_SHOWN] for value in (case["ground_truth"], graded["pred"]))
            said.append(
                f"{place}: {source}: expected {int(case['expected'])}, graded {int(graded['acc'])}; "
                f"ground truth {truth}, answer read {read}"
            )
    return said, total, agreed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.graders", description="Check the graders on cases of your own."
    )
    parser.add_argument("cases", type=Path, nargs="+", help=f"JSON lines with the keys {', '.join(_KEYS)}")
    args = parser.parse_args(argv)
    disagree = 0
    for path in args.cases:
        try:
            said, total, agreed = check(path)
        except (CaseError, GraderError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        disagree += len(said)
        for line in said:
            print(line)
        sources = ", ".join(f"{source} {agreed[source]} of {total[source]}" for source in sorted(total))
        print(f"{path}: {agreed.total()} of {total.total()} cases as expected ({sources})")
    return 1 if disagree else 0


if __name__ == "__main__":
    sys.exit(main())
