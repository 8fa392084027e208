"""A walk through a building of which only the room that one stands in is known, with a known critical turn.

Each room has a number, a sign and a letter, for example ``417!b``, and doors from a to d. A door leads on and not back.
The sign says which door is the right one. The answer is the sum of the numbers of the last two rooms, which only those
know who took the right doors. There are three kinds of moves:

- plain (sign ``-``): the right door is the letter that is written;
- hard (one of ``!#$%&@``): the right door is the letter moved on by one, two or three, which the sign decides. The
  slip is to take the letter that is written;
- free (``?``): all doors lead to the same room. The policy is uncertain there, and nothing depends on it.

With one hard move, everything depends on what is asked for in that one turn, and no later turn can make up for it.

Pure standard library: the tools, the reward and the tests import it without torch and without verl.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from recipes.distinct import EVAL_SHARE, distinct

DOORS = "abcd"
PLAIN, FREE, LAST = "-", "?", "="
HARD_SIGNS = "!#$%&@"
#: Of the last turn. It puts the digits as far behind those of the tool as they are in a call for the sum, which a small
#: model learns as one skill.
ANSWER = "The sum: "
BUILDINGS = 100_000
#: Rooms have numbers of three digits whose sum has three digits as well.
LOWEST, NUMBERS = 100, 400


def _check(name: str, value: object, low: float, high: float, whole: bool = True) -> None:
    kind = int if whole else int | float
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        what = "an integer" if whole else "a number"
        raise ValueError(f"{name}={value!r} is not allowed: it must be {what} from {low} to {high}")


@dataclass(frozen=True)
class AgentSpec:
    """Length and difficulty of the walks.

    Args:
        n_moves: doors to go through.
        n_hard: how many of the moves are hard.
        n_free: how many of them are free.
        slip: probability that a supervised conversation gets a hard move wrong.
        n_signs: different signs of hard moves, each a skill of its own.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    n_moves: int = 5
    n_hard: int = 1
    n_free: int = 1
    slip: float = 0.6
    n_signs: int = 3

    def __post_init__(self) -> None:
        _check("n_moves", self.n_moves, 1, 12)
        _check("n_hard", self.n_hard, 0, min(self.n_moves, 6))
        _check("n_free", self.n_free, 0, self.n_moves - self.n_hard)
        _check("slip", self.slip, 0, 0.99, whole=False)
        _check("n_signs", self.n_signs, 1, len(HARD_SIGNS))

    @property
    def root_success(self) -> float:
        """Probability that a supervised conversation ends in the right answer."""
        return (1 - self.slip) ** self.n_hard

    @property
    def chance(self) -> float:
        """Probability that doors taken at random are the right ones."""
        return (1 / len(DOORS)) ** (self.n_moves - self.n_free)

    @property
    def n_turns(self) -> int:
        """Turns of the policy: one a move, the sum, and the answer."""
        return self.n_moves + 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Room(NamedTuple):
    """What is seen in a room."""

    number: int
    sign: str
    letter: str

    def __str__(self) -> str:
        return f"{self.number}{self.sign}{self.letter}"

    @property
    def right_door(self) -> str | None:
        """None where every door is right."""
        if self.sign == FREE:
            return None
        moved = 1 + HARD_SIGNS.index(self.sign) % (len(DOORS) - 1) if self.sign in HARD_SIGNS else 0
        return DOORS[(DOORS.index(self.letter) + moved) % len(DOORS)]


class Building(NamedTuple):
    """All rooms that can be reached, given by a number and by the sign of each move."""

    number: int
    signs: str

    def room(self, path: str) -> Room:
        """The room behind the doors of ``path``, in which a free move is written as its sign."""
        digest = hashlib.blake2b(f"{self.number}/{path}".encode(), digest_size=8).digest()
        number = LOWEST + int.from_bytes(digest[:4], "big") % NUMBERS
        if len(path) == len(self.signs):
            return Room(number, LAST, LAST)
        return Room(number, self.signs[len(path)], DOORS[digest[4] % len(DOORS)])


class Walk:
    """The environment: where somebody stands in a building. Its whole state is the way that was taken.

    verl reaches it through ``verl_gpo.plugin.agents.tool.EnvironmentTool`` (``config/tools.yaml``), which makes one of
    them for each trajectory with the row's ``create_kwargs``.

    Args:
        building: its number.
        signs: of the moves (:class:`Building`).

    >>> walk = Walk(7, "-?")
    >>> walk.call("walk", {"door": "z"}), walk.snapshot()
    ('no such door', '')
    """

    def __init__(self, building: int, signs: str):
        self.building, self.path = Building(int(building), signs), ""

    @property
    def room(self) -> Room:
        return self.building.room(self.path)

    def call(self, tool: str, parameters: Mapping[str, Any]) -> str:
        """Go through a door; what is seen behind it. A call that is refused changes nothing."""
        door = parameters.get("door")
        if self.room.sign == LAST:
            return "no doors here"
        if not isinstance(door, str) or len(door) != 1 or door not in DOORS:
            return "no such door"
        self.path += FREE if self.room.sign == FREE else door
        return str(self.room)

    def snapshot(self) -> str:
        """The state: the doors that were taken."""
        return self.path

    def restore(self, state: str) -> None:
        """Stand where that way leads."""
        self.path = state


@dataclass(frozen=True)
class Problem:
    """A building to walk through."""

    building: Building

    @property
    def prompt(self) -> str:
        """For example ``#00173 417!b``: the building, and the room that one stands in."""
        return f"#{self.building.number:05d} {self.building.room('')}"

    @property
    def hard_turns(self) -> tuple[int, ...]:
        """The turns on which the outcome depends; the policy's turns are counted from 0."""
        return tuple(k for k, sign in enumerate(self.building.signs) if sign in HARD_SIGNS)

    @property
    def right_path(self) -> str:
        return self.path(frozenset())

    @property
    def right_rooms(self) -> list[Room]:
        """The rooms of the right way, the first included."""
        path = self.right_path
        return [self.building.room(path[:k]) for k in range(len(path) + 1)]

    @property
    def answer(self) -> str:
        return self.outcome(self.right_path)

    def path(self, slips: frozenset[int]) -> str:
        """The way of somebody who slips in these moves (hard ones), and is right in the others."""
        path = ""
        for move, sign in enumerate(self.building.signs):
            room = self.building.room(path)
            door = room.letter if move in slips else room.right_door
            path += FREE if sign == FREE or door is None else door
        return path

    def outcome(self, path: str) -> str:
        """The sum of the last two rooms of a way."""
        last, before = self.building.room(path).number, self.building.room(path[:-1]).number
        return str(last + before)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """An assistant's message with one tool call."""
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def sample_conversation(problem: Problem, rng: random.Random, slip: float) -> list[dict[str, Any]]:
    """A conversation to the end: each hard move slips with probability ``slip``, and a free one takes any door."""
    walk, numbers = Walk(*problem.building), [problem.building.room("").number]
    messages: list[dict[str, Any]] = [{"role": "user", "content": problem.prompt}]
    for sign in problem.building.signs:
        room = walk.room
        if sign == FREE:
            door = rng.choice(DOORS)
        else:
            door = room.letter if sign in HARD_SIGNS and rng.random() < slip else room.right_door
        messages += [call("walk", door=door), {"role": "tool", "content": walk.call("walk", {"door": door})}]
        numbers.append(walk.room.number)
    total = str(numbers[-1] + numbers[-2])
    messages += [call("add", a=numbers[-1], b=numbers[-2]), {"role": "tool", "content": total}]
    return [*messages, {"role": "assistant", "content": f"{ANSWER}{total}"}]


def split_of(number: int) -> str:
    """The split that a building belongs to."""
    return "eval" if number % EVAL_SHARE == 0 else "train"


def draw_problem(spec: AgentSpec, rng: random.Random) -> Problem | None:
    """A problem of any split; None if a slip could end in the right answer."""
    places = rng.sample(range(spec.n_moves), spec.n_hard + spec.n_free)
    signs = [PLAIN] * spec.n_moves
    for place in places[: spec.n_hard]:
        signs[place] = rng.choice(HARD_SIGNS[: spec.n_signs])
    for place in places[spec.n_hard :]:
        signs[place] = FREE
    problem = Problem(Building(rng.randrange(BUILDINGS), "".join(signs)))
    hard = problem.hard_turns
    slips = (frozenset(some) for n in range(1, len(hard) + 1) for some in itertools.combinations(hard, n))
    return None if any(problem.outcome(problem.path(some)) == problem.answer for some in slips) else problem


def generate_problems(spec: AgentSpec, n: int, seed: int, split: str = "train") -> list[Problem]:
    """``n`` problems in different buildings. The same arguments give the same list, and a longer list starts with it.

    Raises:
        ValueError: for an unknown split, or more problems than there are buildings.
    """
    rng = random.Random(f"{split}:{seed}")
    draws = (draw_problem(spec, rng) for _ in itertools.count())
    return distinct(draws, n, split, lambda problem: problem.building.number, "buildings", split_of)


def tools_kwargs(problem: Problem) -> dict[str, Any]:
    """What verl hands to the tools for this problem."""
    return {"walk": {"create_kwargs": {"building": problem.building.number, "signs": problem.building.signs}}}


def read_problem(row: Mapping[str, Any]) -> Problem:
    """The problem that a row of the data was made of."""
    given = row["extra_info"]["tools_kwargs"]["walk"]["create_kwargs"]
    return Problem(Building(int(given["building"]), given["signs"]))


def turn_correctness(problem: Problem, turns: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Whether each of the policy's messages is right, given that all before it were.

    In a free move every door is right. Turns beyond the answer are wrong.
    """
    rooms, right = problem.right_rooms, []
    for k, turn in enumerate(turns):
        calls = [one["function"] for one in turn.get("tool_calls") or ()]
        if k < len(rooms) - 1:
            doors = DOORS if rooms[k].right_door is None else rooms[k].right_door
            right.append(calls in [[{"name": "walk", "arguments": {"door": door}}] for door in doors])
        elif k == len(rooms) - 1:
            numbers = {"a": rooms[-1].number, "b": rooms[-2].number}
            right.append(calls == [{"name": "add", "arguments": numbers}])
        else:
            right.append(k == len(rooms) and not calls and turn["content"] == f"{ANSWER}{problem.answer}")
    return right
