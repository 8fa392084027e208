"""The tasks: questions of reasoning-gym, and a written solution of each, on which the model is supervised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def count_legs(metadata: Mapping[str, Any]) -> str:
    """A solution of ``leg_counting``: for each animal a line with its legs, the product and the running total."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    total, lines = 0, []
    for animal, count in metadata["animals"].items():
        legs = ANIMALS[animal]
        total += count * legs
        lines.append(f"{animal}: {legs} legs, {count} x {legs} = {count * legs}, total {total}")
    return "\n".join([*lines, f"Answer: {total}"])


def word_problem(metadata: Mapping[str, Any]) -> str:
    """A solution of ``gsm_symbolic``: the sentences that the task gives, and an answer line like the other task's."""
    lines = metadata["answer_cot"].strip().split("\n")
    text = re.sub(r"(?<=\d)\.0+(?!\d)", "", "\n".join(line.rstrip() for line in lines if not line.startswith("####")))
    return f"{text}\nAnswer: {whole(metadata['answer_value'])}"


def whole(number: float) -> str:
    """A number as text, without ``.0``."""
    return str(int(number)) if float(number).is_integer() else str(number)


@dataclass(frozen=True)
class Task:
    """A task of reasoning-gym with its settings.

    Attributes:
        name: reasoning-gym's name of the task.
        solve: makes a solution from the metadata of a problem.
        settings: of reasoning-gym, if they differ from its defaults.
        steps: number of optimizer steps in a round of the supervision.
    """

    name: str
    solve: Callable[[Mapping[str, Any]], str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 60


#: All solutions are right. The errors in the training are the model's own.
TASKS = {
    "leg_counting": Task(
        "leg_counting", count_legs, {"min_animals": 4, "max_animals": 6, "min_instances": 1, "max_instances": 15}
    ),
    "gsm_symbolic": Task("gsm_symbolic", word_problem, {"difficulty": 1.0}, steps=120),
}


def task_named(name: str, **settings: Any) -> Task:
    """The task with a name, with some of its settings changed; None leaves a setting as it is.

    Raises:
        ValueError: there is no such task or setting; the message lists those that there are.
    """
    if name not in TASKS:
        raise ValueError(f"task={name!r} is not allowed: it must be one of {', '.join(TASKS)}")
    task = TASKS[name]
    given = {key: value for key, value in settings.items() if value is not None}
    for key in given:
        if key not in task.settings:
            raise ValueError(f"{key} is not allowed for {name}: its settings are {', '.join(task.settings)}")
    return Task(task.name, task.solve, {**task.settings, **given}, task.steps)
