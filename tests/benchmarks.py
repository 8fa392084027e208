"""Shared by the tests of data and graders: where data are, and answers that are nearly right."""

import os
import re
from pathlib import Path

from verl_gpo.data.load import located_rows

#: Hand-written rows in the published schemas, laid out as a mirror.
SAMPLES = Path(__file__).parent / "data" / "samples"
#: A folder with the published files (gsm8k_train.jsonl, ..., bbh/*.json); None: tests on them are skipped.
PUBLISHED = Path(os.environ["VERL_GPO_BENCHMARKS"]) if "VERL_GPO_BENCHMARKS" in os.environ else None
#: A folder with data/ and cases/ beside the repository, where there is one; VERL_GPO_SHARED names another.
SHARED = Path(os.environ.get("VERL_GPO_SHARED", Path(__file__).parents[2] / "shared"))


def rows(entry, split, path=None, **options):
    """The rows of a data set without their places."""
    return [row for _, row in located_rows(entry, split, path, **options)]


_OPPOSITE = {"yes": "no", "no": "yes", "true": "False", "false": "True", "valid": "invalid", "invalid": "valid"}


def perturbed(answer: str) -> str:
    """A wrong answer that looks like the right one."""
    if answer.casefold() in _OPPOSITE:
        return _OPPOSITE[answer.casefold()]
    if re.fullmatch(r"\(?[A-Z]\)?", answer):
        return answer.replace("A", "B") if "A" in answer else re.sub("[A-Z]", "A", answer)
    if re.fullmatch(r"[-+]?\d+", answer):
        return str(int(answer) + 1)
    if not re.search(r"\w", answer):  # brackets
        return answer + " )"
    # Not the power of a unit: units are not graded.
    digits = [m.start() for m in re.finditer(r"\d", answer) if "}^" not in answer[max(m.start() - 2, 0) : m.start()]]
    if digits:
        last = digits[-1]
        return f"{answer[:last]}{(int(answer[last]) + 1) % 10 or 1}{answer[last + 1 :]}"
    words = answer.split()
    if len(words) > 2 and re.fullmatch(r"[a-z&' ]+", answer):
        return " ".join([words[1], words[0], *words[2:]])
    return f"{answer}+7" if "\\" in answer or len(answer) < 3 else "zebra"
