"""The state of the search for one prompt: its anchors, what was drawn for them, and the result."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..config import GPOConfig
from .cost import rows_of_group
from .credit import StepCredit, credit_by_belief, credit_by_means, on_unsure_tokens
from .critical import CriticalStep
from .draw import Drawn, Wanted
from .learn import LEARN_FROM
from .result import Reentry
from .search import AnchorView, Search
from .turns import limit_turn_steps, split_turns
from .types import ScoredContinuation, Splitter, Tokens, Trajectory
from .values import UNKNOWN, Bounds, StateValue, group_value, monte_carlo_value, observed_value


class Place(NamedTuple):
    """State ``s_state`` of the group's ``view``-th anchor; if several anchors share a state, that of the first one."""

    view: int
    state: int


class Group:
    """The anchors of one prompt, and the continuations that were drawn at each state.

    Args:
        config: see :class:`verl_gpo.config.GPOConfig`.
        search: at which states to sample next.
        splitter: response tokens to step ends.
        response_length: most tokens of a response, kept prefix included.
        roots_N: the group's rollouts.
        anchors: indices of the rollouts that are searched.
        seed: seed of all random choices.
        given: steps that the data set says are decisive.
        tokens_left: what search and re-entry may cost.
        smallest_group: rollouts of a state that can be learnt from together: 2 where they are compared, otherwise 1.

    Attributes:
        thinned: whether neighbouring steps had to be merged, because the values of all states would cost more.
    """

    def __init__(
        self,
        config: GPOConfig,
        search: Search,
        splitter: Splitter,
        response_length: int,
        roots_N: Sequence[Trajectory],
        anchors: list[int],
        seed: str,
        given: Sequence[int] = (),
        tokens_left: float = float("inf"),
        smallest_group: int = 2,
    ):
        self._config, self._smallest_group = config, smallest_group
        self._search, self._learn_from = search, LEARN_FROM[config.learn_from]
        self._bounds = Bounds(config.reward_low, config.reward_high)
        self._root_value = group_value([root.reward for root in roots_N], self._bounds)
        self._samples: dict[Place, list[ScoredContinuation]] = {}
        self._censored: dict[Place, int] = {}
        self._values: dict[Place, StateValue] = {}
        self.anchors = anchors
        self.thinned = False
        self._lengths_N = [root.written_tokens for root in roots_N]
        expected = sum(self._lengths_N) / len(roots_N)
        longest = response_length - 1  # a continuation has at least one token
        self.views: list[AnchorView] = []
        for anchor in anchors:
            root = roots_N[anchor]
            ends = tuple(split_turns(splitter, root.token_ids, root.log_probs, root.written, config.max_steps))
            rng = random.Random(f"{seed}/{anchor}")
            view = AnchorView(config, root, ends, longest, expected, rng, given=frozenset(given))
            most = self._affordable_steps(view, len(roots_N), tokens_left / len(anchors))
            if most < view.steps:
                self.thinned = True
                merged = tuple(limit_turn_steps(ends, root.written, most))
                view = AnchorView(config, root, merged, longest, expected, rng, given=frozenset())
            self.views.append(view)
        self._reserved_for_all = sum(self._reserved(view, self._root_value.count) for view in self.views)
        # A rollout can replace one row only, so responses whose rows are replaced share nothing.
        self._shared = {} if config.rows == "replaced" else _shared_states(self.views)
        self._update()

    def _affordable_steps(self, view: AnchorView, roots: int, tokens_left: float) -> int:
        """Highest number of steps for which the search is expected to fit into the tokens left after the re-entry."""
        if not view.steps:
            return 0
        left = tokens_left - min(self._reserved(view, roots), tokens_left / 2)
        mean = sum(view.continuation_tokens(state) for state in range(1, view.steps)) / max(view.steps - 1, 1)

        def too_many(steps: int) -> bool:
            draws = self._search.expected_draws(self._config, steps, roots)
            return draws.search * mean + draws.at_prompt * view.response_tokens > left

        if not too_many(view.steps):
            return view.steps
        return max(bisect.bisect_left(range(view.steps), True, lo=1, key=too_many) - 1, 1)

    def _reserved(self, view: AnchorView, roots: int) -> float:
        """Tokens that are kept for the re-entry rollouts of an anchor: at most the cost of whole responses."""
        if not view.steps:
            return 0.0
        draws = self._search.expected_draws(self._config, view.steps, roots)
        count = self._learn_from.expected(self._search, draws, self._config.n_reentry).after
        return count * view.response_tokens

    def prefix(self, place: Place) -> Tokens:
        """Response tokens that a state keeps."""
        return self.views[place.view].prefix(place.state)

    def _place(self, view: int, state: int) -> Place:
        return self._shared.get((view, state)) or Place(view, state)

    def _update(self) -> None:
        for number, view in enumerate(self.views):
            inner = [self._values.get(self._place(number, state), UNKNOWN) for state in range(1, view.steps)]
            # The mean of a group of one is that root's own outcome; continuations drawn at s_0 say more.
            drawn = self._values.get(self._place(number, 0), UNKNOWN)
            use_drawn = drawn.known and (self._root_value.count < 2 or self._search.draws_at_prompt)
            values = [drawn if use_drawn else self._root_value, *inner]
            if view.steps:
                values.append(observed_value(view.root.reward))
            view.update(values, in_first=not use_drawn and self._root_value.known)

    def kept(self, tokens_left: float) -> float:
        """Tokens that are kept for the re-entry rollouts: at most half of what is left."""
        return min(self._reserved_for_all, tokens_left / 2)

    def next_round(self, tokens_left: float) -> list[Wanted[Place]]:
        """The draws of the next round. Anchors with the same tokens up to a state share what is drawn there.

        Args:
            tokens_left: tokens that the search may spend, without those that are kept for the re-entry rollouts.
        """
        wanted: dict[Place, Wanted[Place]] = {}
        for number, view in enumerate(self.views):
            counts: dict[int, int] = {}
            for state in self._search.next_states(view) if view.steps else ():
                tokens_left -= view.continuation_tokens(state)
                if tokens_left < 0:
                    break
                counts[state] = counts.get(state, 0) + 1
                view.requested_K[state] += 1
            for state, count in counts.items():
                place = self._place(number, state)
                if place not in wanted or wanted[place].count < count:
                    wanted[place] = self._wanted(place, count)
        return list(wanted.values())

    def _wanted(self, place: Place, count: int) -> Wanted[Place]:
        view = self.views[place.view]
        prefix, expected = view.prefix_length(place.state), view.continuation_tokens(place.state)
        # Where lengths vary, the mean of what is left of each root is more than what is left of their mean.
        kept = view.written_before(place.state)
        left = sum(max(length - kept, 1) for length in self._lengths_N) / len(self._lengths_N)
        most = self._config.max_continuation_tokens or left
        return Wanted(place, prefix, count, max(expected, min(left, most)))

    def observe(self, drawn: Mapping[Place, Drawn]) -> None:
        """Add a round's continuations to what is known."""
        for place, came in drawn.items():
            known = self._samples.setdefault(place, [])
            known.extend(came.samples)
            self._censored[place] = self._censored.get(place, 0) + came.censored
            takes_part = self._learn_from.takes_part
            seen = [sample for number, sample in enumerate(known) if takes_part(self._search, number)]
            self._values[place] = monte_carlo_value(
                seen, self._censored[place], self._config.partial_rewards, self._bounds
            )
        self._update()

    def choose(self) -> list[CriticalStep | None]:
        """The critical step of each anchor."""
        return [self._search.choose(view) if view.steps else None for view in self.views]

    def _reset(self, number: int, critical: CriticalStep | None) -> Place | None:
        """The state that an anchor's critical step resets to."""
        return None if critical is None else self._place(number, self.views[number].reset_state(critical.index))

    def missing(self, chosen: Sequence[CriticalStep | None], left: float) -> list[Wanted[Place]]:
        """Continuations to draw from the reset states after the choice, as many as the tokens left allow."""
        wanted: dict[Place, Wanted[Place]] = {}
        for number, critical in enumerate(chosen):
            place = self._reset(number, critical)
            if place is None:
                continue
            tokens = self.views[place.view].continuation_tokens(place.state)
            samples = self._samples.get(place, ())
            drawn = sum(not sample.cut for sample in samples)
            count = self._learn_from.missing(self._search, place.state, drawn, self._config.n_reentry)
            count = int(min(count, left // tokens))
            size = self._learn_from.group_size(self._search, samples, count)
            if not self._config.n_reentry or not rows_of_group(self._config, size, self._smallest_group):
                continue  # they would be paid for, and nobody could learn from them
            left -= count * tokens
            if count and (place not in wanted or wanted[place].count < count):
                wanted[place] = self._wanted(place, count)
        return list(wanted.values())

    def results(
        self,
        chosen: Sequence[CriticalStep | None],
        added: Mapping[Place, Drawn],
        dropped: Iterable[Place] = (),
    ) -> list[Reentry]:
        """The result of each anchor; states in ``dropped`` give no group.

        A state that several anchors share gives one group only. The group belongs to the first anchor that resets to
        the state, or else to the first anchor that has it.
        """
        reentries = []
        taken = set(dropped)
        resets = [self._reset(number, critical) for number, critical in enumerate(chosen)]
        owners: dict[Place, int] = {}  # of reset states
        for number, place in enumerate(resets):
            if place is not None:
                owners.setdefault(place, number)
        for number, (anchor, view, critical) in enumerate(zip(self.anchors, self.views, chosen, strict=True)):
            drawn, own, reset = {}, {}, None
            for state in range(view.steps):
                place = self._place(number, state)
                if place in taken or owners.get(place, number) != number:
                    continue
                if place == resets[number]:
                    reset = state
                if place in self._samples or place == resets[number]:
                    own[state] = place
                    drawn[state] = self._samples.get(place, ())
            new = () if reset is None else added.get(resets[number], Drawn()).samples
            found = self._learn_from.groups(self._search, drawn, reset, new, lambda state: ())
            groups = tuple(
                replace(group, root=view.root.token_ids, kept=view.prefix_length(group.state))
                for group in (found if self._config.n_reentry else ())
            )
            taken.update(own[group.state] for group in groups)
            credit = self._credit(number, added)
            reentries.append(Reentry(anchor, view.ends_K, tuple(view.values_K1), critical, groups, credit))
        return reentries

    def _credit(self, number: int, added: Mapping[Place, Drawn]) -> StepCredit | None:
        """What an anchor's tokens are credited with; None where that is its outcome.

        Every continuation counts, also one that took no part in the choice, and those of the re-entry: credit is given
        to all steps, so that it is not biased by the choice of one of them.
        """
        view, config = self.views[number], self._config
        if config.credit != "steps" or not view.steps:
            return None
        inner = []
        for place in (self._place(number, state) for state in range(1, view.steps)):
            more = added.get(place, Drawn())
            samples, censored = (*self._samples.get(place, ()), *more.samples), self._censored.get(place, 0)
            inner.append(monte_carlo_value(samples, censored + more.censored, config.partial_rewards, self._bounds))
        first, last = view.values_K1[0], view.values_K1[-1]
        if not first.known or not any(value.known for value in inner):
            return None
        if self._search.by_belief(config):
            without = [first, *([UNKNOWN] * len(inner)), last]
            curves_SK1, prior_SK1 = view.curves([first, *inner, last]), view.curves(without)
            width = config.reward_high - config.reward_low
            credit = credit_by_belief(view.ends_K, last.mean - first.mean, curves_SK1, prior_SK1, width)
        else:
            credit = credit_by_means(view.ends_K, [first, *inner, last])
        return credit and on_unsure_tokens(credit, view.root.log_probs, config.credit_below)


def _shared_states(views: Sequence[AnchorView]) -> dict[tuple[int, int], Place]:
    """(anchor, state) -> the same state of an earlier anchor, if the two responses have the same tokens up to it."""
    shared: dict[tuple[int, int], Place] = {}
    for later, view in enumerate(views):
        for earlier in range(later):
            other = views[earlier]
            agree = _common_length(view.root, other.root)
            at = {start: state for state, start in enumerate(other.starts_K)}
            for state, start in enumerate(view.starts_K):
                if start <= agree and start in at:
                    first = shared.get((earlier, at[start])) or Place(earlier, at[start])
                    shared.setdefault((later, state), first)
    return shared


def _common_length(one: Trajectory, other: Trajectory) -> int:
    """Number of tokens at the beginning that two responses have in common, written by the same speakers."""
    length = min(len(one.token_ids), len(other.token_ids))
    if one.written is not None or other.written is not None:
        speakers = zip(*((root.written or (1,) * len(root.token_ids))[:length] for root in (one, other)), strict=True)
        length = next((at for at, (a, b) in enumerate(speakers) if a != b), length)
    tokens = zip(one.token_ids[:length], other.token_ids[:length], strict=True)
    return next((at for at, (a, b) in enumerate(tokens) if a != b), length)
