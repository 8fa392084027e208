"""Tasks of reasoning-gym: the settings of the problems, and how each problem is solved line by line.

Questions, answers and scorers are reasoning-gym's own. The settings choose problems of equal length, which a small
model can learn from random weights. The solutions are written here, from the metadata of a problem: lines of fixed
width, each of which follows from the line before it, and then the answer.

Some steps are hard. There the supervised solutions *slip* with a certain probability: they make an error that people
make. The model learns to slip as often, and reinforcement learning can then teach it not to.

The file needs the standard library only, since tests and error messages of the command line need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ANSWER = "Answer: "


class Line(NamedTuple):
    """One step of a solution, and whether it is a hard one, in which a slip is possible."""

    text: str
    is_hard: bool = False


#: Makes the lines of a solution from the metadata of a problem and a function that says whether the next hard step
#: slips.
Solve = Callable[[Mapping[str, Any], Callable[[], bool]], list[Line]]


@dataclass(frozen=True)
class GymTask:
    """One task.

    Attributes:
        name: reasoning-gym's name of the task.
        settings: of reasoning-gym. They make all questions equally long.
        solve: writes a solution.
        prompt_tokens: number of tokens of every prompt.
        response_tokens: number of tokens of the longest right response, the end token included.
        slip: probability that a supervised solution gets a hard step wrong.
        distances: how many tokens back the attention of the model points at the start
            (``recipes.arithmetic.model.build_model``).
        training: settings of the supervision that differ from the defaults.
    """

    name: str
    settings: Mapping[str, int]
    solve: Solve
    prompt_tokens: int
    response_tokens: int
    slip: float
    distances: tuple[int, ...]
    training: Mapping[str, Any]

    def right_lines(self, metadata: Mapping[str, Any]) -> list[Line]:
        """The lines of the solution without a slip."""
        return self.solve(metadata, lambda: False)


def response(lines: list[Line]) -> str:
    """The text of a solution."""
    return "\n".join(line.text for line in lines)


def solve_chain_sum(metadata: Mapping[str, Any], slips: Callable[[], bool]) -> list[Line]:
    """The running total after each term. A step with a carry, a borrow or a change of sign is hard.

    A slip leaves the tens and the sign as they were: 17 + 5 gives 12, 23 - 4 gives 29, and 3 - 7 gives 4.
    """
    first, *rest = metadata["expression"].split(" ")
    total = int(first)
    lines = [Line(f"{total:+03d}")]
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        side = -1 if total < 0 else 1
        size = abs(total)
        grown = size + side * int(sign + term)
        is_hard = grown < 0 or grown // 10 != size // 10
        if is_hard and slips():
            grown = -grown if grown < 0 else size // 10 * 10 + grown % 10
        total = side * grown
        lines.append(Line(f"{total:+03d}", is_hard))
    return [*lines, Line(f"{ANSWER}{total:+03d}")]


def solve_count_bits(metadata: Mapping[str, Any], slips: Callable[[], bool]) -> list[Line]:
    """Halve the number again and again, and count the remainders that are 1. A 1 that is followed by another is hard.

    A slip counts the two as one, as people do if a digit repeats.
    """
    number, count = metadata["number"], 0
    lines = [Line(f"{number:04d} {count:2d}")]
    while number:
        half, one = divmod(number, 2)
        is_hard = bool(one and half % 2)
        if one and not (is_hard and slips()):
            count += 1
        number = half
        lines.append(Line(f"{number:04d} {count:2d}", is_hard))
    return [*lines, Line(f"{ANSWER}{count}")]


TASKS: dict[str, GymTask] = {
    task.name: task
    for task in (
        GymTask(
            name="chain_sum",
            settings={"min_terms": 8, "max_terms": 8, "min_digits": 1, "max_digits": 1},
            solve=solve_chain_sum,
            prompt_tokens=92,
            response_tokens=44,
            slip=0.2,
            # Seen from the newline before a line: its term, the sign of that term (a term with its sign is as long as
            # a line, four tokens), and the three characters of the total before it.
            distances=(31, 33, 1, 2, 3),
            training={"steps": 900, "hidden_size": 160, "learning_rate": 3e-3},
        ),
        GymTask(
            name="count_bits",
            settings={"min_n": 1000, "max_n": 9999},
            solve=solve_count_bits,
            prompt_tokens=75,
            response_tokens=131,
            slip=0.25,
            # Seen from the token before a character: the same character of the line before, the digit before that one,
            # the last digit of the number before (for the count), and on the first line the same digit of the prompt.
            distances=(7, 8, 10, 5),
            training={"steps": 400, "hidden_size": 128},
        ),
    )
}


def task_named(name: str) -> GymTask:
    """The task with a name.

    Raises:
        ValueError: there is no such task; the message lists those that there are.
    """
    if name not in TASKS:
        raise ValueError(f"task={name!r} is not allowed: it must be one of {', '.join(TASKS)}")
    return TASKS[name]
