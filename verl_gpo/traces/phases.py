"""The phases that a prompt goes through in a training step, as workers report them and ``live`` shows them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

#: Environment variable that names the folder of the workers' files.
FOLDER = "VERL_GPO_PROGRESS"
#: In order; the last is the phase of a prompt that is finished.
PHASES = ("rollout", "value", "reentry", "done")
_WORDS = {"rollout": "roll out", "value": "value", "reentry": "re-enter"}


def read(folder: Path) -> tuple[int, Counter[str]]:
    """The latest training step that any worker has a prompt of, and its prompts by phase; (-1, {}) without any."""
    states = []
    for file in folder.glob("*.json"):
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
            states.append((int(state.pop("step")), Counter(state)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # its worker has just replaced the file, or has ended, or it is no file of a worker
    latest = max((step for step, _ in states), default=-1)
    return latest, sum((counts for step, counts in states if step == latest), Counter())


def describe(counts: Counter[str]) -> str:
    """The earliest phase that a prompt is in, and the number of prompts past it; without prompts, the trainer's phase.

    >>> describe(Counter(value=3, done=5))
    'value 5/8'
    """
    prompts = sum(counts.values())
    for number, phase in enumerate(PHASES[:-1]):
        if counts[phase]:
            past = sum(counts[later] for later in PHASES[number + 1 :])
            return f"{_WORDS[phase]} {past}/{prompts}"
    return "train" if prompts else "roll out"
