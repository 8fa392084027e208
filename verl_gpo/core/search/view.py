"""What a search knows about one anchor response, and the interface of searches."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...config import GPOConfig
from ..critical import RULES, CriticalStep, best_steps, select_by_belief, select_critical_step
from ..curve import ValueCurve
from ..learn import LEARN_FROM, LearnFrom
from ..learn.base import Draws
from ..turns import step_starts
from ..types import Tokens, Trajectory
from ..values import Bounds, StateValue, step_advantages

#: Number of curves that are drawn from the belief after each update.
_CURVES = 256


@dataclass
class AnchorView:
    """One anchor: its steps, what is known about its states, and what it has cost so far.

    Attributes:
        config: the settings.
        root: the response.
        ends_K: exclusive token positions of its steps' ends.
        max_prefix_tokens: states with a longer prefix are neither sampled nor reset to.
        expected_tokens: mean number of tokens that the policy wrote in the group's responses, from which the length of
            a continuation is estimated.
        rng: source of every random choice for this anchor.
        values_K1: the estimates of its ``K + 1`` state values.
        in_first: whether the value of ``s_0`` averages this response's own reward.
        requested_K: number of continuations requested at ``s_0 .. s_{K-1}``, those that failed included.
        given: steps that the data set says are decisive.
    """

    config: GPOConfig
    root: Trajectory
    ends_K: tuple[int, ...]
    max_prefix_tokens: int
    expected_tokens: float
    rng: random.Random
    values_K1: list[StateValue] = field(default_factory=list)
    in_first: bool = False
    requested_K: list[int] = field(default_factory=list)
    given: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.starts_K = step_starts(self.ends_K, self.root.written)
        self.requested_K = [0] * self.steps
        self._generator = np.random.default_rng(self.rng.getrandbits(64))
        self.eligible_K = self._eligible()
        self._curve: ValueCurve | None = None
        self._prefix: Tokens = ()
        self._belief: tuple[np.ndarray, np.ndarray] | None = None
        #: Of the curves of the belief: how much of each step's difference the environment made. Shape ``(S, K)``.
        self.environment_SK: np.ndarray | None = None

    def update(self, values_K1: list[StateValue], in_first: bool) -> None:
        """Replace the estimates of the state values."""
        if values_K1 != self.values_K1 or in_first != self.in_first:
            self._belief = None
        self.values_K1, self.in_first = values_K1, in_first

    @property
    def bounds(self) -> Bounds:
        """Bounds of the reward, as declared."""
        return Bounds(self.config.reward_low, self.config.reward_high)

    @property
    def learn_from(self) -> LearnFrom:
        """The way of ``learn_from``; some searches draw the group that it needs."""
        return LEARN_FROM[self.config.learn_from]

    @property
    def curve(self) -> ValueCurve:
        """The prior belief about its values. It is only built when a search uses it."""
        if self._curve is None:
            outcome = self.bounds.share(self.root.reward)
            self._curve = ValueCurve(self.ends_K, outcome, self.root.log_probs, self.root.written)
        return self._curve

    @property
    def root_group_tells(self) -> bool:
        """Whether ``V(s_0)`` is estimated from other roots than this one."""
        return self.values_K1[0].count > 1

    @property
    def steps(self) -> int:
        return len(self.ends_K)

    def prefix(self, state: int) -> Tokens:
        """Response tokens that state ``s_state`` keeps."""
        length = self.prefix_length(state)
        if len(self._prefix) != length:  # the requests of a state come together, and share it while they are in flight
            self._prefix = self.root.token_ids[:length]
        return self._prefix

    def prefix_length(self, state: int) -> int:
        """Tokens of the response that state ``s_state`` keeps."""
        return self.starts_K[state] if state < self.steps else self.ends_K[-1]

    def can_sample(self, state: int) -> bool:
        """Whether continuations may be drawn at a state: not at the end, and not beyond the prefix limit."""
        return state < self.steps and self.prefix_length(state) <= self.max_prefix_tokens

    def reset_state(self, step: int) -> int:
        """Index of the state that a critical step resets to."""
        return step + (self.config.reset == "after")

    def step_of(self) -> dict[int, int]:
        """State that may be reset to -> the step that would be critical."""
        return {self.reset_state(step): step for step in range(self.steps) if self.eligible_K[step]}

    @property
    def response_tokens(self) -> float:
        """Expected number of tokens that the policy writes in a response: at least that of this one."""
        return max(self.expected_tokens, float(self.written_before(self.steps)))

    def rollout_tokens(self, state: int) -> float:
        """Expected number of tokens that the policy writes in a rollout from a state."""
        return max(self.response_tokens - self.written_before(state), 1.0)

    def written_before(self, state: int) -> int:
        """Number of tokens before a state that the policy wrote."""
        length = self.prefix_length(state)
        return length if self.root.written is None else sum(self.root.written[:length])

    def continuation_tokens(self, state: int) -> float:
        """Expected length of a Monte Carlo continuation, which ``max_continuation_tokens`` bounds."""
        return min(self.rollout_tokens(state), self.config.max_continuation_tokens or float("inf"))

    def _eligible(self) -> list[bool]:
        """Steps that may be critical: those whose reset state can be sampled."""
        return [self.can_sample(state) for state in map(self.reset_state, range(self.steps))]

    def curves(self, values_K1: Sequence[StateValue]) -> np.ndarray:
        """Curves drawn from the belief with these estimates, in units of the reward. Shape ``(S, K + 1)``."""
        return self._drawn(values_K1)[0]

    def _drawn(self, values_K1: Sequence[StateValue]) -> tuple[np.ndarray, np.ndarray | None]:
        """The curves, and how much of their differences the environment made."""
        low, high = self.bounds.low, self.bounds.high
        counts_K = np.array([value.count for value in values_K1[:-1]], dtype=float)
        successes_K = counts_K * [value.share_of(self.bounds) if value.count else 0.0 for value in values_K1[:-1]]
        if self.in_first:  # its own outcome is the end of the curve already, so it must not count at s_0 again
            counts_K[0] -= 1.0
            successes_K[0] -= self.bounds.share(self.root.reward)
        shares_SK1, moved_SK = self.curve.sample_apart(successes_K, counts_K, _CURVES, self._generator)
        return low + (high - low) * shares_SK1, None if moved_SK is None else (high - low) * moved_SK

    def belief(self) -> tuple[np.ndarray, np.ndarray]:
        """Curves drawn from the belief, and the critical step of each. They are drawn anew only after an update.

        Returns:
            ``(curves_SK1, labels_S)``: values in units of the reward; step indices, ``K`` for none
            (:func:`~verl_gpo.core.critical.best_steps`).
        """
        if self._belief is None:
            curves_SK1, self.environment_SK = self._drawn(self.values_K1)
            eligible_K = self.curve.moves_K & self.eligible_K
            rule, least = self.config.rule, self.config.min_advantage
            labels_S = best_steps(curves_SK1, rule, eligible_K, least, self._generator, self.environment_SK)
            self._belief = curves_SK1, labels_S
        return self._belief

    def select(self, by_belief: bool, among_K: Sequence[bool] | None = None) -> CriticalStep | None:
        """The critical step by what is known now, with its confidence; None if it is below ``min_confidence``.

        Args:
            by_belief: take the most probable step; otherwise the paper's choice, the largest difference of two means.
            among_K: steps that may be chosen by belief; None for all that are eligible.
        """
        config = self.config
        if RULES[config.rule] is None:
            return select_critical_step(
                step_advantages(self.values_K1), config.rule, rng=self.rng, eligible_K=self.eligible_K
            )
        curves_SK1, labels_S = self.belief()
        if by_belief:
            critical = select_by_belief(labels_S, curves_SK1, among_K, self.environment_SK)
        else:
            critical = select_critical_step(
                step_advantages(self.values_K1), config.rule, config.min_advantage, self.rng, self.eligible_K
            )
            if critical is not None:
                share = float((labels_S == critical.index).mean())
                critical = CriticalStep(critical.index, critical.advantage, share)
        if critical is not None and critical.confidence < config.min_confidence:
            return None
        return critical


class Search(ABC):
    """Decides, round by round, where to draw continuations, and which step is critical.

    It keeps no state: all that it knows is in the view. The flags say how it draws (see
    :class:`~verl_gpo.core.learn.base.Drawing`) and what it needs.
    """

    looks = True
    sequential = False
    by_group = False
    reenters = True
    #: Uses how sure the policy was of each token, so the roots need log-probs.
    needs_log_probs = False
    #: Chooses among steps that the data set names.
    needs_given_steps = False
    #: Draws at the prompt although the group tells its value.
    draws_at_prompt = False

    @abstractmethod
    def next_states(self, view: AnchorView) -> Sequence[int]:
        """States of the next round, one continuation for each entry; a state may occur several times. Empty: stop."""

    @abstractmethod
    def choose(self, view: AnchorView) -> CriticalStep | None:
        """The critical step after the last round, or None."""

    def by_belief(self, config: GPOConfig) -> bool:
        """Whether it chooses, and credits steps, by the belief, which knows states that were not sampled, too."""
        return False

    @abstractmethod
    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        """Number of continuations that it is expected to draw for an anchor of ``steps`` steps in a group of ``roots``.

        For a search that may stop early it is an upper bound.
        """

    def rounds(self, config: GPOConfig, steps: int) -> int:
        """Number of rounds that it is expected to wait for, for an anchor of ``steps`` steps."""
        return int(self.looks and steps > 1)

    @abstractmethod
    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        """Numbers of continuations that the state it resets to may have by then: the least and the most of them.

        As long as there are tokens for the search, and no request fails. Empty for a search that resets nowhere.
        """


class Unsearched(Search):
    """Draws nothing before it chooses."""

    looks = False

    def next_states(self, view: AnchorView) -> Sequence[int]:
        return []

    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        return Draws(0, 0)

    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        return (0,) if self.reenters else ()


class ByValues(Search):
    """Chooses by the estimated values, as ``value_model`` says."""

    def choose(self, view: AnchorView) -> CriticalStep | None:
        return view.select(by_belief=self.by_belief(view.config))

    def by_belief(self, config: GPOConfig) -> bool:
        return config.value_model == "curve"

    def expected_draws(self, config: GPOConfig, steps: int, roots: int) -> Draws:
        at_prompt = config.n_mc if roots == 1 and steps > 1 else 0
        return Draws(self.states_valued(steps) * config.n_mc, config.n_mc, at_prompt)

    def drawn_at_reset(self, config: GPOConfig, steps: int) -> tuple[int, ...]:
        return (config.n_mc,)

    def rounds(self, config: GPOConfig, steps: int) -> int:
        return self.states_valued(steps)

    @abstractmethod
    def states_valued(self, steps: int) -> int:
        """Number of states between the steps of an anchor whose values are expected to be estimated."""


class ByBelief(Search):
    """Chooses by the belief, which also guides the search: states that were not sampled have no means to compare."""

    sequential = True

    def by_belief(self, config: GPOConfig) -> bool:
        return True

    def choose(self, view: AnchorView) -> CriticalStep | None:
        return view.select(by_belief=True)
