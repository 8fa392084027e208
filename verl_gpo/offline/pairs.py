"""Preference pairs: two continuations of the same state with different outcomes (GPO's Procedure II).

One of :data:`RULES` decides which continuations of a state are paired. With every rule,

- a continuation that was sampled twice counts once, and not at all if its two rewards differ;
- chosen and rejected differ in reward by more than ``min_gap``;
- a continuation that was cut off at the response length has a reward, but no end: :data:`TRUNCATED` says whether it may
  be chosen or rejected;
- the same pair of the same prompt and prefix occurs once, even if a prompt is visited several times.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .records import Record, Rollout, State

#: name -> whether a continuation that was cut off may be (chosen, rejected).
TRUNCATED: dict[str, tuple[bool, bool]] = {
    "rejected": (False, True),
    "drop": (False, False),
    "keep": (True, True),
}

Couple = tuple[Rollout, Rollout]  # chosen, rejected
May = Callable[[Rollout, Rollout], bool]


def _balanced(rollouts_N: Sequence[Rollout], may: May, rng: random.Random) -> list[Couple]:
    left = sorted(rollouts_N, key=lambda rollout: -rollout.reward)
    couples = []
    for chosen in list(left):
        if chosen not in left:
            continue
        worst_first = reversed(left)
        partner = next((rejected for rejected in worst_first if may(chosen, rejected)), None)
        if partner is not None:
            left.remove(chosen)
            left.remove(partner)
            couples.append((chosen, partner))
    return couples


def _all(rollouts_N: Sequence[Rollout], may: May, rng: random.Random) -> list[Couple]:
    couples = [(a, b) for a in rollouts_N for b in rollouts_N if may(a, b)]
    rng.shuffle(couples)
    return couples


#: name -> the couples of one state, the preferred ones first. To add a rule, add an entry, and a line to the tests.
RULES: dict[str, Callable[[Sequence[Rollout], May, random.Random], list[Couple]]] = {
    # Each continuation once, the best with the worst: no state and no continuation has too much weight.
    "balanced": _balanced,
    # One pair of each state.
    "best_worst": lambda rollouts_N, may, rng: _balanced(rollouts_N, may, rng)[:1],
    # Every couple with a difference, in random order.
    "all": _all,
}


@dataclass(frozen=True)
class Selection:
    """How pairs are chosen.

    Attributes:
        rule: a key of :data:`RULES`.
        max_pairs: maximal number of pairs of a state; 0 for no limit.
        min_gap: the rewards of a pair differ by more than this.
        truncated: a key of :data:`TRUNCATED`.
    """

    rule: str = "balanced"
    max_pairs: int = 0
    min_gap: float = 0.0
    truncated: str = "rejected"


@dataclass(frozen=True)
class Pair:
    """Two continuations of one state.

    Attributes:
        record: the visit in which it was drawn.
        state: the state; its prefix is part of the pair's prompt.
    """

    record: Record
    state: State
    chosen: Rollout
    rejected: Rollout

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The prompt and the prefix that is kept: what both continuations follow."""
        return self.record.prompt_ids + self.state.prefix


@dataclass(frozen=True)
class Unpaired:
    """A single continuation, with the side of the pair that it was on."""

    pair: Pair
    rollout: Rollout
    label: bool


@dataclass
class Tally:
    """Counts what happened to the rollouts that could be paired."""

    states: int = 0
    states_with_pairs: int = 0
    rollouts: int = 0
    truncated: int = 0
    repeated: int = 0
    duplicate_pairs: int = 0
    prompts_with_pairs: set[int] = field(default_factory=set)


def whole(record: Record) -> tuple[State, ...]:
    """The prompt as a state, whose continuations are whole responses."""
    spoken = any(root.messages is not None for root in record.roots)
    return (State((), 0, 0, False, None, None, record.roots, () if spoken else None),)


def select(records: Iterable[Record], plain: bool, selection: Selection, tally: Tally) -> Iterator[Pair]:
    """The pairs of some records.

    Args:
        plain: pair whole responses, and not the rollouts from reset states.
        tally: receives the counts.
    """
    may_choose, may_reject = TRUNCATED[selection.truncated]

    def may(chosen: Rollout, rejected: Rollout) -> bool:
        return (
            chosen.reward - rejected.reward > selection.min_gap
            and (may_choose or chosen.finish != "length")
            and (may_reject or rejected.finish != "length")
        )

    seen: set[tuple[tuple[int, ...], ...]] = set()
    for record in records:
        for state in whole(record) if plain else record.states:
            distinct = _distinct(state.rollouts)
            tally.states += 1
            tally.rollouts += len(state.rollouts)
            tally.truncated += sum(rollout.finish == "length" for rollout in state.rollouts)
            tally.repeated += len(state.rollouts) - len(distinct)
            rng = random.Random(f"{record.index}/{record.visit}/{state.step}")
            couples = RULES[selection.rule](distinct, may, rng)
            found = 0
            for chosen, rejected in couples[: selection.max_pairs or None]:
                pair = Pair(record, state, chosen, rejected)
                key = (pair.prompt_ids, chosen.token_ids, rejected.token_ids)
                if key in seen:
                    tally.duplicate_pairs += 1
                    continue
                seen.add(key)
                found += 1
                yield pair
            tally.states_with_pairs += found > 0
            if found:
                tally.prompts_with_pairs.add(record.index)


def _distinct(rollouts_N: Sequence[Rollout]) -> list[Rollout]:
    by_tokens: dict[tuple[int, ...], list[Rollout]] = {}
    for rollout in rollouts_N:
        by_tokens.setdefault(rollout.token_ids, []).append(rollout)
    return [same[0] for same in by_tokens.values() if len({rollout.reward for rollout in same}) == 1]


def unpair(pairs: Iterable[Pair]) -> list[Unpaired]:
    """The continuations of some pairs, each once: the chosen ones are desirable, the rejected ones undesirable.

    A continuation that is chosen in one pair and rejected in another, which is possible with graded rewards, is left
    out.
    """
    sides: dict[tuple[tuple[int, ...], ...], Unpaired | None] = {}
    for pair in pairs:
        for rollout, label in ((pair.chosen, True), (pair.rejected, False)):
            key = (pair.prompt_ids, rollout.token_ids)
            known = sides.setdefault(key, Unpaired(pair, rollout, label))
            if known is not None and known.label != label:
                sides[key] = None
    return [row for row in sides.values() if row is not None]
