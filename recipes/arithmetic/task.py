"""Procedural multi-step arithmetic with a known hard kind of step.

A problem is a chain of digit-wise operations modulo 10 on a number of ``digits`` digits. Easy steps add an operand,
hard steps multiply by an operand whose digits are units modulo 10 (3, 7 or 9). Both are bijections on the state space,
so no value absorbs the chain and a wrong value stays wrong unless a second error undoes it; the generator draws
operands for which the modelled slips never undo each other, so the values below are exact and not approximate.

The slip of a hard step is to misread its sign and add the operand. With ``m`` in {3, 7, 9} the equation
``s * m = s + m (mod 10)`` has no solution, so a slip is wrong in every digit.

With one sign a single skill is to be learnt, to multiply where it is written. With ``n_signs`` of them each is a skill
of its own: every second one means to add, and the slip there is to multiply; and a line reports what was done by one of
two letters that are this sign's alone. So what is learnt of one sign says next to nothing of another.

Pure standard library: the reward, the data preparation and the tests all import it without torch.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

LABELS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
HARD_PLACES = ("early", "late", "spread", "random")
SPLITS = ("train", "eval")
SIGNS = ("+", "*")
# The sign of hard steps where there is one for all, and the signs where there are several.
HARD_SIGN, HARD_SIGNS = "*", "!#$%&?@^~<>|:"
# What a line reports of a hard step: (multiplied, added).
MARKS = {HARD_SIGN: ("*", "+")} | dict(zip(HARD_SIGNS, zip("ACEGIKMOQSUWY", "BDFHJLNPRTVXZ", strict=True), strict=True))
HARD_DIGITS = (3, 7, 9)
# One problem in eight belongs to the eval split, decided by a hash of its prompt: disjoint whatever the seeds are.
EVAL_SHARE = 8
# Draws in a row without a new problem after which a spec counts as exhausted.
PATIENCE = 20_000

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
        n_steps: operations in a problem, 1 to 52 (one letter labels each).
        n_hard: how many of them are hard, 0 to ``min(n_steps, 8)``. More than 8 would leave the generator no operands
            for which slips can never cancel out.
        hard_place: where the hard steps sit: ``early``, ``late``, ``spread`` (evenly) or ``random`` (per problem).
        slip: probability in [0, 1) that a supervised trace gets a hard step wrong.
        digits: digits of a value, 3 to 6. With 3 the answer is guessed with probability 0.001.
        n_signs: different signs of hard steps, 1 to 13, each drawn as often as another. With several, ``n_steps`` is at
            most 26: upper-case letters are no labels then.

    Raises:
        ValueError: naming the field, its value and what is allowed.
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
        """Probability that a supervised trace ends in the right answer."""
        return (1 - self.slip) ** self.n_hard

    def to_dict(self) -> dict:
        """The fields; a single sign is not named, so folders that were prepared before there were more are found."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("n_signs", 1)}


@dataclass(frozen=True)
class Operation:
    """One step: ``sign`` is ``+`` (easy) or a key of ``MARKS``, ``operand`` one integer in 0..9 a digit."""

    label: str
    sign: str
    operand: State

    @property
    def is_hard(self) -> bool:
        return self.sign != "+"

    @property
    def multiplies(self) -> bool:
        """What is right to do: multiply where the single sign or every second of several stands, else add."""
        return self.sign == HARD_SIGN or (self.is_hard and HARD_SIGNS.index(self.sign) % 2 == 0)

    @property
    def marks(self) -> tuple[str, str]:
        """What a line reports if the step was done right, and if it slipped (hard steps only)."""
        self._check_hard()
        return MARKS[self.sign] if self.multiplies else MARKS[self.sign][::-1]

    def right(self, state: State) -> State:
        """The correct next value."""
        return multiply(state, self.operand) if self.multiplies else add(state, self.operand)

    def slipped(self, state: State) -> State:
        """The value of the modelled error (hard steps only): added where it should be multiplied, or the reverse."""
        self._check_hard()
        return add(state, self.operand) if self.multiplies else multiply(state, self.operand)

    def _check_hard(self) -> None:
        if not self.is_hard:
            raise ValueError(f"step {self.label} is easy: only hard steps have a modelled slip")


@dataclass(frozen=True)
class Problem:
    """A chain of operations on a start value. Steps are indexed from 0; index ``n_steps`` is the answer line."""

    start: State
    operations: tuple[Operation, ...]

    @property
    def prompt(self) -> str:
        """Question text, for example ``a+385 b*379 417``: the operations, then the start value.

        An operation is as long as a response line and the start value ends the prompt as a value ends a line, so the
        operand and the previous value lie at the same distance from every line. A tiny model learns that in minutes.
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
        """The ``n_steps + 1`` lines of the correct response; the last one is the answer line."""
        return response_lines(self, self.right_states)

    @property
    def answer(self) -> str:
        return text(self.right_states[-1])

    @property
    def hard_steps(self) -> tuple[int, ...]:
        return tuple(i for i, operation in enumerate(self.operations) if operation.is_hard)


@dataclass(frozen=True)
class TrueValues:
    """Exact values of a response under the idealised policy.

    Attributes:
        values: ``V(s_0) .. V(s_K)``, ``K`` being the number of lines written; ``s_k`` is the state before line ``k``.
        advantages: ``A_k = V(s_{k+1}) - V(s_k)``, length ``K``.
        loses_most: the critical step by the rule argmin: the first wrong line; None if no line is wrong.
        gains_most: the critical step by the rule argmax: of the hard steps got right, the one that gains most; or None.
    """

    values: tuple[float, ...]
    advantages: tuple[float, ...]
    loses_most: int | None
    gains_most: int | None


def text(state: Sequence[int]) -> str:
    return "".join(str(digit) for digit in state)


def add(a: State, b: State) -> State:
    """Digit-wise sum modulo 10, no carry."""
    return tuple((x + y) % 10 for x, y in zip(a, b, strict=True))


def multiply(a: State, b: State) -> State:
    """Digit-wise product modulo 10, no carry."""
    return tuple((x * y) % 10 for x, y in zip(a, b, strict=True))


def response_lines(problem: Problem, states: Sequence[State], slips: frozenset[int] = frozenset()) -> tuple[str, ...]:
    """Lines that report the operation carried out and the value it gave, then the answer line.

    Args:
        states: the value after each operation.
        slips: indices of the steps whose sign was misread.
    """
    marks = [o.marks[k in slips] if o.is_hard else "+" for k, o in enumerate(problem.operations)]
    lines = [f"{o.label}{mark}{text(s)}" for o, mark, s in zip(problem.operations, marks, states, strict=True)]
    return (*lines, f"= {text(states[-1])}")


def split_of(prompt: str) -> str:
    """The split (``train`` or ``eval``) that a prompt belongs to, a pure function of its text."""
    return "eval" if hashlib.sha256(prompt.encode()).digest()[0] % EVAL_SHARE == 0 else "train"


def hard_positions(spec: ArithmeticSpec, rng: random.Random) -> tuple[int, ...]:
    """Indices of the hard steps of one problem, ascending."""
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
    # All wrong values that earlier slips may have led to: none of them may become equal to the right value again.
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
            return None  # adding nothing is no step
        following = {operation.right(state) for state in wrong}
        if operation.is_hard:
            following |= {operation.slipped(state) for state in wrong | {right}}
        right, wrong = operation.right(right), following
        if right in wrong:
            return None
        operations.append(operation)
    return Problem(start, tuple(operations))


def generate_problems(spec: ArithmeticSpec, n: int, seed: int, split: str = "train") -> list[Problem]:
    """``n`` distinct problems of one split. The same arguments give the same list, and a longer list starts with it.

    Raises:
        ValueError: for an unknown split or a negative ``n``, or when the spec has fewer than ``n`` problems to draw.
    """
    _check("split", split, f"one of {', '.join(SPLITS)}", split in SPLITS)
    _check("n", n, "an integer of at least 0", isinstance(n, int) and n >= 0)
    rng = random.Random(f"{split}:{seed}")
    problems: dict[str, Problem] = {}
    in_vain = 0
    while len(problems) < n:
        if in_vain == PATIENCE:
            raise ValueError(f"n={n} is not allowed: only {len(problems)} distinct {split} problems found for {spec}")
        problem = _draw_problem(spec, rng)
        if problem is None or problem.prompt in problems or split_of(problem.prompt) != split:
            in_vain += 1
            continue
        problems[problem.prompt] = problem
        in_vain = 0
    return list(problems.values())


def parse_problem(prompt: str) -> Problem:
    """The inverse of ``Problem.prompt``.

    Raises:
        ValueError: if the text is not a problem.
    """
    *words, start = prompt.split(" ")
    matches = [re.fullmatch(rf"([a-zA-Z])([+{re.escape(''.join(MARKS))}])([0-9]+)", word) for word in words]
    right_form = re.fullmatch("[0-9]+", start) and matches and all(m and len(m[3]) == len(start) for m in matches)
    if not right_form or [m[1] for m in matches] != list(LABELS[: len(matches)]):
        raise ValueError(f"prompt={prompt!r} is not a problem such as 'a+385 b*379 417'")
    operations = (Operation(m[1], m[2], tuple(map(int, m[3]))) for m in matches)
    return Problem(tuple(map(int, start)), tuple(operations))


def sample_solution(problem: Problem, rng: random.Random, slip: float) -> str:
    """A response in which each hard step slips with probability ``slip``, and the next step uses the wrong value."""
    slips = frozenset(k for k in problem.hard_steps if rng.random() < slip)
    state, states = problem.start, []
    for k, operation in enumerate(problem.operations):
        state = operation.slipped(state) if k in slips else operation.right(state)
        states.append(state)
    return "\n".join(response_lines(problem, states, slips))


def step_correctness(problem: Problem, response_text: str) -> list[bool]:
    """Whether each written line is the one of the correct response (the answer line counts as a line).

    The list is as long as the response has lines, so a truncated response gives fewer than ``n_steps + 1`` entries;
    lines beyond the answer line are wrong. Newlines that end the text do not start a line. Only the value decides,
    because the rest of the chain depends on nothing else: what a line reports to have done may be either.
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
    """Exact values along a response if easy lines are always right, hard ones with probability ``p_hard``.

    After a wrong line the value is 0: the modelled slips of a generated problem never lead back to the right value.

    Raises:
        ValueError: if ``p_hard`` is outside [0, 1].
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
