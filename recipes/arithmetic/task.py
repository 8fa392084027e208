"""Generated problems of arithmetic in several steps, of which one kind is hard.

A problem is a chain of operations on a number of ``digits`` digits, each digit by itself, modulo 10. An easy step adds
an operand. A hard step multiplies by an operand whose digits are 3, 7 or 9. Both map the numbers one to one, so a wrong
value stays wrong, unless a second error happens to undo the first one. The generator draws operands with which slips
never undo each other, so the state values of :func:`true_values` are exact.

A *slip* in a hard step is to read its sign as the other one, and to add the operand. With ``m`` in {3, 7, 9} the
equation ``s * m = s + m (mod 10)`` has no solution, so a slip makes every digit wrong.

With one sign for hard steps there is one skill to learn: to multiply if the sign says so. With ``n_signs`` of them,
each sign is a skill of its own. Every second sign means to add, and the slip there is to multiply. A line reports what
was done by one of two letters that belong to this sign only, so learning one sign says almost nothing about another.

The file needs the standard library only, so that the reward, the preparation and the tests import it without torch.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from recipes.distinct import distinct

LABELS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
HARD_PLACES = ("early", "late", "spread", "random")
SIGNS = ("+", "*")
# The sign of hard steps if there is one for all of them, and the signs if there are several.
HARD_SIGN, HARD_SIGNS = "*", "!#$%&?@^~<>|:"
# Sign of a hard step -> the letter with which a line reports that it multiplied, and that it added.
MARKS = {HARD_SIGN: ("*", "+")} | dict(zip(HARD_SIGNS, zip("ACEGIKMOQSUWY", "BDFHJLNPRTVXZ", strict=True), strict=True))
HARD_DIGITS = (3, 7, 9)

State = tuple[int, ...]


def _check(name: str, value: object, allowed: str, ok: bool) -> None:
    if not ok:
        raise ValueError(f"{name}={value!r} is not allowed: it must be {allowed}")


def _check_int(name: str, value: object, low: int, high: int) -> None:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    _check(name, value, f"an integer from {low} to {high}", is_int and low <= value <= high)


@dataclass(frozen=True)
class ArithmeticSpec:
    """Length and difficulty of the problems.

    Args:
        n_steps: number of operations in a problem, 1 to 52; each is labelled by a letter.
        n_hard: number of hard ones among them, 0 to ``min(n_steps, 8)``. With more than 8 there would be no operands
            with which slips never undo each other.
        hard_place: where the hard steps are: ``early``, ``late``, ``spread`` (evenly) or ``random`` (in each problem).
        slip: probability in [0, 1) that a supervised solution gets a hard step wrong.
        digits: number of digits of a value, 3 to 6. With 3 a guess is right with probability 0.001.
        n_signs: number of different signs for hard steps, 1 to 13, which are equally frequent. With several,
            ``n_steps`` is at most 26, since upper-case letters are then no labels.

    Raises:
        ValueError: the message names the field, its value and what is allowed.
    """

    n_steps: int = 8
    n_hard: int = 3
    hard_place: str = "spread"
    slip: float = 0.25
    digits: int = 3
    n_signs: int = 1

    def __post_init__(self) -> None:
        _check_int("n_steps", self.n_steps, 1, len(LABELS))
        _check_int("n_hard", self.n_hard, 0, min(self.n_steps, 8))
        _check("hard_place", self.hard_place, f"one of {', '.join(HARD_PLACES)}", self.hard_place in HARD_PLACES)
        is_number = isinstance(self.slip, int | float) and not isinstance(self.slip, bool)
        _check("slip", self.slip, "a number in [0, 1)", is_number and 0 <= self.slip < 1)
        _check_int("digits", self.digits, 3, 6)
        _check_int("n_signs", self.n_signs, 1, len(HARD_SIGNS))
        if self.n_signs > 1:
            _check_int("n_steps", self.n_steps, 1, len(LABELS) // 2)

    @property
    def root_success(self) -> float:
        """The probability that a supervised solution ends in the right answer."""
        return (1 - self.slip) ** self.n_hard

    def to_dict(self) -> dict:
        """The fields. ``n_signs`` is left out if it is 1, so that folders made without that setting are found."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("n_signs", 1)}


@dataclass(frozen=True)
class Operation:
    """One step of a problem.

    Attributes:
        label: its letter.
        sign: ``+`` for an easy step, or a key of ``MARKS``.
        operand: one integer from 0 to 9 for each digit.
    """

    label: str
    sign: str
    operand: State

    @property
    def is_hard(self) -> bool:
        return self.sign != "+"

    @property
    def multiplies(self) -> bool:
        """Whether it is right to multiply: for the single sign, and for every second one of several."""
        return self.sign == HARD_SIGN or (self.is_hard and HARD_SIGNS.index(self.sign) % 2 == 0)

    @property
    def marks(self) -> tuple[str, str]:
        """The letters with which a line reports that a hard step was done right, and that it slipped."""
        self._check_hard()
        return MARKS[self.sign] if self.multiplies else MARKS[self.sign][::-1]

    def right(self, state: State) -> State:
        """The correct next value."""
        return multiply(state, self.operand) if self.multiplies else add(state, self.operand)

    def slipped(self, state: State) -> State:
        """The next value after a slip in a hard step: added instead of multiplied, or the reverse."""
        self._check_hard()
        return add(state, self.operand) if self.multiplies else multiply(state, self.operand)

    def _check_hard(self) -> None:
        if not self.is_hard:
            raise ValueError(f"step {self.label} is easy: only hard steps have a modelled slip")


@dataclass(frozen=True)
class Problem:
    """A chain of operations on a start value. Steps are numbered from 0, and step ``n_steps`` is the answer line."""

    start: State
    operations: tuple[Operation, ...]

    @property
    def prompt(self) -> str:
        """The question, for example ``a+385 b*379 417``: the operations, then the start value.

        An operation is as long as a line of the response, and the start value ends the prompt as a value ends a line.
        So the operand and the value before are at the same distance from every line, which a tiny model learns in
        minutes.
        """
        return " ".join([*(f"{o.label}{o.sign}{text(o.operand)}" for o in self.operations), text(self.start)])

    @property
    def right_states(self) -> tuple[State, ...]:
        """The value after each operation, length ``n_steps``."""
        states, state = [], self.start
        for operation in self.operations:
            state = operation.right(state)
            states.append(state)
        return tuple(states)

    @property
    def right_lines(self) -> tuple[str, ...]:
        """The ``n_steps + 1`` lines of the right response. The last one is the answer line."""
        return response_lines(self, self.right_states)

    @property
    def answer(self) -> str:
        """The digits of the last value."""
        return text(self.right_states[-1])

    @property
    def hard_steps(self) -> tuple[int, ...]:
        """The numbers of the hard steps."""
        return tuple(i for i, operation in enumerate(self.operations) if operation.is_hard)


@dataclass(frozen=True)
class TrueValues:
    """The exact values of a response, for a policy that makes errors in hard steps only.

    Attributes:
        values: ``V(s_0) .. V(s_K)`` for a response of ``K`` lines; ``s_k`` is the state before line ``k``.
        advantages: ``A_k = V(s_{k+1}) - V(s_k)``, of length ``K``.
        loses_most: the critical step under the rule argmin, which is the first wrong line; None if no line is wrong.
        gains_most: the critical step under the rule argmax, which is the hard step that gains most; None if none gains.
    """

    values: tuple[float, ...]
    advantages: tuple[float, ...]
    loses_most: int | None
    gains_most: int | None


def text(state: Sequence[int]) -> str:
    """A value as its digits."""
    return "".join(str(digit) for digit in state)


def add(a: State, b: State) -> State:
    """The sum of each digit modulo 10, without carries."""
    return tuple((x + y) % 10 for x, y in zip(a, b, strict=True))


def multiply(a: State, b: State) -> State:
    """The product of each digit modulo 10, without carries."""
    return tuple((x * y) % 10 for x, y in zip(a, b, strict=True))


def response_lines(problem: Problem, states: Sequence[State], slips: frozenset[int] = frozenset()) -> tuple[str, ...]:
    """The lines of a response: for each operation what was done and the value that it gave, then the answer line.

    Args:
        problem: that is solved.
        states: the value after each operation.
        slips: numbers of the steps that slipped.
    """
    marks = [o.marks[k in slips] if o.is_hard else "+" for k, o in enumerate(problem.operations)]
    lines = [f"{o.label}{mark}{text(s)}" for o, mark, s in zip(problem.operations, marks, states, strict=True)]
    return (*lines, f"= {text(states[-1])}")


def hard_positions(spec: ArithmeticSpec, rng: random.Random) -> tuple[int, ...]:
    """The numbers of the hard steps of one problem, in order."""
    n, hard = spec.n_steps, spec.n_hard
    if spec.hard_place == "early":
        return tuple(range(hard))
    if spec.hard_place == "late":
        return tuple(range(n - hard, n))
    if spec.hard_place == "spread":
        return tuple((2 * i + 1) * n // (2 * hard) for i in range(hard))
    return tuple(sorted(rng.sample(range(n), hard)))


def _draw_problem(spec: ArithmeticSpec, rng: random.Random) -> Problem | None:
    hard = set(hard_positions(spec, rng))
    start = right = tuple(rng.randrange(10) for _ in range(spec.digits))
    # All wrong values that earlier slips can lead to. None of them may become equal to the right value again.
    wrong: set[State] = set()
    operations = []
    for index in range(spec.n_steps):
        choices: Sequence[int] = HARD_DIGITS if index in hard else range(10)
        operand = tuple(rng.choice(choices) for _ in range(spec.digits))
        sign = "+"
        if index in hard:
            sign = rng.choice(HARD_SIGNS[: spec.n_signs]) if spec.n_signs > 1 else HARD_SIGN
        operation = Operation(LABELS[index], sign, operand)
        if not any(operand):
            return None  # adding 0 would not be a step
        following = {operation.right(state) for state in wrong}
        if operation.is_hard:
            following |= {operation.slipped(state) for state in wrong | {right}}
        right, wrong = operation.right(right), following
        if right in wrong:
            return None
        operations.append(operation)
    return Problem(start, tuple(operations))


def generate_problems(spec: ArithmeticSpec, n: int, seed: int, split: str = "train") -> list[Problem]:
    """``n`` different problems of one split. A longer list with the same other arguments starts with the same problems.

    Args:
        spec: length and difficulty.
        n: number of problems.
        seed: of the random choices.
        split: ``train`` or ``eval``.

    Raises:
        ValueError: the split is unknown, ``n`` is negative, or there are fewer than ``n`` problems.
    """
    _check("n", n, "an integer of at least 0", isinstance(n, int) and n >= 0)
    rng = random.Random(f"{split}:{seed}")
    draws = (_draw_problem(spec, rng) for _ in itertools.count())
    return distinct(draws, n, split, lambda problem: problem.prompt, f"problems of {spec}")


def parse_problem(prompt: str) -> Problem:
    """The problem that a prompt describes, the inverse of ``Problem.prompt``.

    Raises:
        ValueError: the text does not describe a problem.
    """
    *words, start = prompt.split(" ")
    matches = [re.fullmatch(rf"([a-zA-Z])([+{re.escape(''.join(MARKS))}])([0-9]+)", word) for word in words]
    right_form = re.fullmatch("[0-9]+", start) and matches and all(m and len(m[3]) == len(start) for m in matches)
    if not right_form or [m[1] for m in matches] != list(LABELS[: len(matches)]):
        raise ValueError(f"prompt={prompt!r} is not a problem such as 'a+385 b*379 417'")
    operations = (Operation(m[1], m[2], tuple(map(int, m[3]))) for m in matches)
    return Problem(tuple(map(int, start)), tuple(operations))


def sample_solution(problem: Problem, rng: random.Random, slip: float) -> str:
    """A response in which each hard step slips with probability ``slip``. Later steps use the wrong value."""
    slips = frozenset(k for k in problem.hard_steps if rng.random() < slip)
    state, states = problem.start, []
    for k, operation in enumerate(problem.operations):
        state = operation.slipped(state) if k in slips else operation.right(state)
        states.append(state)
    return "\n".join(response_lines(problem, states, slips))


def step_correctness(problem: Problem, response_text: str) -> list[bool]:
    """For each line of a response, whether it is right. The answer line counts as a line.

    The list has as many entries as the response has lines: fewer than ``n_steps + 1`` for a truncated response. Lines
    after the answer line are wrong. Newlines at the end of the text do not start a line. Only the value of a line
    decides, since the rest of the chain depends on nothing else; either of the two letters is accepted.
    """
    body = response_text.rstrip("\n")
    lines = body.split("\n") if body else []
    values = [text(state) for state in problem.right_states]
    right = [
        {f"{o.label}{mark}{v}" for mark in (o.marks if o.is_hard else SIGNS)}
        for o, v in zip(problem.operations, values, strict=True)
    ]
    right.append({f"= {problem.answer}"})
    return [k < len(right) and line in right[k] for k, line in enumerate(lines)]


def true_values(problem: Problem, response_text: str, p_hard: float) -> TrueValues:
    """The exact values along a response, if easy lines are always right, and hard ones with probability ``p_hard``.

    After a wrong line the value is 0, since slips never lead back to the right value.

    Args:
        problem: that was to be solved.
        response_text: the response.
        p_hard: in [0, 1].

    Raises:
        ValueError: ``p_hard`` is outside of [0, 1].
    """
    _check("p_hard", p_hard, "a number in [0, 1]", 0 <= p_hard <= 1)
    hard = set(problem.hard_steps)
    left, on_track = len(hard), True
    values = [float(p_hard) ** left]
    for k, right in enumerate(step_correctness(problem, response_text)):
        left -= k in hard
        on_track = on_track and right
        values.append(float(p_hard) ** left if on_track else 0.0)
    advantages = tuple(after - before for before, after in zip(values, values[1:], strict=False))
    lowest, highest = min(advantages, default=0.0), max(advantages, default=0.0)
    return TrueValues(
        values=tuple(values),
        advantages=advantages,
        loses_most=advantages.index(lowest) if lowest < 0 else None,
        gains_most=advantages.index(highest) if highest > 0 else None,
    )
