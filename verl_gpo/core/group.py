"""What is known of one prompt while its anchors are searched, and what comes of it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..config import GPOConfig
from .critical import CriticalStep
from .learn import LEARN_FROM
from .result import Reentry
from .search import AnchorView, Search
from .types import ScoredContinuation, Splitter, Tokens, Trajectory
from .values import UNKNOWN, StateValue, group_value, monte_carlo_value, observed_value


class Group:
    """The anchors of one prompt, and every continuation drawn, by prefix.

    Args:
        config: see :class:`verl_gpo.config.GPOConfig`.
        search: how its states are searched.
        splitter: response tokens to step ends.
        response_length: most tokens of a response, kept prefix included.
        roots_N: the group's rollouts.
        anchors: indices of those that are searched.
        seed: of all random choices.
        given: steps that the data set says are decisive.
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
    ):
        self._config = config
        self._search, self._learn_from = search, LEARN_FROM[config.learn_from]
        self._rewards = [root.reward for root in roots_N]
        self._root_value = group_value(self._rewards)
        self._samples: dict[Tokens, list[ScoredContinuation]] = {}
        self._values: dict[Tokens, StateValue] = {}
        self._lengths: set[int] = set()  # of the prefixes above: one that is long costs something to look up
        self.anchors = anchors
        expected = sum(len(root.token_ids) for root in roots_N) / len(roots_N)
        longest = response_length - 1  # a continuation has one token at least
        self.views = []
        for anchor in anchors:
            root = roots_N[anchor]
            ends = tuple(splitter(root.token_ids, root.log_probs))
            rng = random.Random(f"{seed}/{anchor}")
            known = self._known(root, ends)
            self.views.append(AnchorView(config, root, ends, longest, expected, rng, *known, given=frozenset(given)))

    def _known(self, root: Trajectory, ends: tuple[int, ...]) -> tuple[list[StateValue], tuple[float, float]]:
        values, lengths = self._values, self._lengths
        inner = [values.get(root.token_ids[:end], UNKNOWN) if end in lengths else UNKNOWN for end in ends[:-1]]
        # A group of one says of s_0 what its only root came to: what was drawn there says more.
        drawn = self._values.get((), UNKNOWN)
        first = drawn if drawn.known and self._root_value.count < 2 else self._root_value
        values = [first, *inner, observed_value(root.reward)] if ends else [first]
        return values, (min(0.0, *self._rewards), max(1.0, *self._rewards))

    def next_round(self, tokens_left: float) -> dict[Tokens, int]:
        """The next round: prefix -> continuations. Anchors that agree up to a state share what is drawn there."""
        wanted: dict[Tokens, int] = {}
        for view in self.views:
            states = self._search.next_states(view) if view.steps else ()
            of_view: dict[int, int] = {}
            for state in states:
                tokens_left -= view.continuation_tokens(state)
                if tokens_left < 0:
                    break
                of_view[state] = of_view.get(state, 0) + 1
                view.requested_K[state] += 1
            for state, count in of_view.items():
                prefix = view.prefix(state)
                wanted[prefix] = max(wanted.get(prefix, 0), count)
        return wanted

    def observe(self, drawn: dict[Tokens, tuple[ScoredContinuation, ...]]) -> None:
        """Take note of a round's continuations."""
        for prefix, samples in drawn.items():
            self._lengths.add(len(prefix))
            known = self._samples.setdefault(prefix, [])
            known.extend(samples)
            self._rewards.extend(sample.reward for sample in samples)
            takes_part = self._learn_from.takes_part
            seen = [sample for number, sample in enumerate(known) if takes_part(self._search, number)]
            self._values[prefix] = monte_carlo_value(seen)
        for view in self.views:
            view.update(*self._known(view.root, view.ends_K))

    def choose(self) -> list[CriticalStep | None]:
        """The critical step of each anchor."""
        return [self._search.choose(view) if view.steps else None for view in self.views]

    def missing(self, chosen: Sequence[CriticalStep | None], left: float) -> dict[Tokens, int]:
        """Continuations to draw from the reset states after the choice, as far as the tokens left go."""
        wanted: dict[Tokens, int] = {}
        for view, critical in zip(self.views, chosen, strict=True):
            if critical is None:
                continue
            state = view.reset_state(critical.index)
            prefix = view.prefix(state)
            drawn = sum(not sample.cut for sample in self._samples.get(prefix, ()))
            count = self._learn_from.missing(self._search, state, drawn, self._config.n_reentry)
            affordable = int(min(count, left // view.continuation_tokens(state)))
            count = affordable if affordable + drawn > 1 else 0  # a group of one has nothing to be compared with
            left -= count * view.continuation_tokens(state)
            wanted[prefix] = max(wanted.get(prefix, 0), count)
        return {prefix: count for prefix, count in wanted.items() if count}

    def results(
        self, chosen: Sequence[CriticalStep | None], added: dict[Tokens, tuple[ScoredContinuation, ...]]
    ) -> list[Reentry]:
        """What came of each anchor.

        A state that anchors share is learnt from once: with the first that resets to it, or else the first that has it.
        """
        reentries = []
        taken: set[Tokens] = set()
        owners: dict[Tokens, int] = {}  # of reset states
        for anchor, view, critical in zip(self.anchors, self.views, chosen, strict=True):
            if critical is not None:
                owners.setdefault(view.prefix(view.reset_state(critical.index)), anchor)
        for anchor, view, critical in zip(self.anchors, self.views, chosen, strict=True):
            reset = None if critical is None else view.reset_state(critical.index)
            drawn = {}
            for state in range(view.steps):
                if state != reset and view.prefix_length(state) not in self._lengths:
                    continue
                prefix = view.prefix(state)
                if prefix in taken or owners.get(prefix, anchor) != anchor:
                    continue
                if prefix in self._samples or state == reset:
                    drawn[state] = (prefix, self._samples.get(prefix, ()))
            new = () if reset is None else added.get(view.prefix(reset), ())
            groups = self._learn_from.groups(self._search, drawn, reset, new)
            taken.update(group.prefix for group in groups)
            reentries.append(Reentry(anchor, view.ends_K, tuple(view.values_K1), critical, groups))
        return reentries
