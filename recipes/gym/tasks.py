"""Tasks of reasoning-gym with solutions: which problems are asked for, and how each is solved line by line.

Questions, answers and scorers are reasoning-gym's own. The settings only choose problems of one length, since the small
model is supervised from scratch. A solution is written here, from the metadata of the problem: fixed-width lines, each
of which follows from the line before it, then the answer.

Some steps are hard, and there the solutions that the model is supervised on slip now and then, in a way that people do.
The model learns to slip as often; reinforcement learning can then teach it not to.

Pure standard library, as the tests and the errors of the command line need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ANSWER = "Answer: "


class Line(NamedTuple):
    """One step of a solution, and whether a slip was possible there."""

    text: str
    is_hard: bool = False


#: A function from a problem's metadata, and a random choice of the hard steps that go wrong, to the solution's lines.
Solve = Callable[[Mapping[str, Any], Callable[[], bool]], list[Line]]


@dataclass(frozen=True)
class GymTask:
    """One task.

    Attributes:
        name: reasoning-gym's.
        settings: reasoning-gym's settings. They make all questions equally long.
        solve: writes a solution.
        prompt_tokens: tokens of every prompt.
        response_tokens: tokens of the longest right response, the end token included.
        slip: how often the supervised solutions get a hard step wrong.
        distances: how far back the model's heads start out looking (``recipes.arithmetic.model.build_model``).
        training: settings of the supervision that are not the default.
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
        """The solution without a slip."""
        return self.solve(metadata, lambda: False)


def response(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def solve_chain_sum(metadata: Mapping[str, Any], slips: Callable[[], bool]) -> list[Line]:
    """The running total after each term. Hard is a step with a carry, a borrow or a change of sign.

    The slip leaves tens and sign as they were: 17 + 5 gives 12, 23 - 4 gives 29, and 3 - 7 gives 4.
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
    """Halve the number repeatedly and count the remainders 1. A hard step is a remainder 1 before another one.

    The slip counts the two as one: where a digit repeats, people miss one.
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
            # From the newline before a line: the term for it, that term's sign (a term with its sign is as long as a
            # line, four tokens), and the three characters of the total before it.
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
            # From the token before: the same character of the line before, the digit before that one, the last digit of
            # the number before seen from the count, and, on the first line, the same digit of the prompt.
            distances=(7, 8, 10, 5),
            training={"steps": 400, "hidden_size": 128},
        ),
    )
}


def task_named(name: str) -> GymTask:
    """The task.

    Raises:
        ValueError: there is none of this name here.
    """
    if name not in TASKS:
        raise ValueError(f"task={name!r} is not allowed: it must be one of {', '.join(TASKS)}")
    return TASKS[name]
