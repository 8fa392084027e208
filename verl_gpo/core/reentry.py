"""The re-entry engine: value states, pick the critical step, reset, resample (GPO's steps 1 to 4, arXiv 2509.16456).

One call handles one prompt. It is a coroutine that waits for nothing but its own requests, so the prompts of a training
step overlap freely, and the requests of one round of a prompt are in flight together. It knows the policy and the
reward by the Protocols of :mod:`verl_gpo.core.types` only, and where to sample by a strategy of
:mod:`verl_gpo.core.search`.

A request that fails costs its own estimate and is counted; it never costs the prompt. Given the same seed and a policy
that answers alike, every choice is the same, in whatever order the requests come back.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..config import GPOConfig
from .anchors import choose_anchors, is_skipped
from .budget import TokenBudget
from .critical import CriticalStep
from .draw import Draw, Usage
from .learn import BranchGroup, branch_groups, missing_continuations, takes_part_in_choice
from .search import SEARCHES, AnchorView, Search
from .types import Sampler, ScoredContinuation, Scorer, Splitter, Tokens, Trajectory
from .values import UNKNOWN, StateValue, group_value, monte_carlo_value, observed_value


@dataclass(frozen=True)
class Reentry:
    """One anchor response: where it was cut, what its states are worth, and what is learnt from.

    Attributes:
        anchor: index of the response in the group.
        ends: ``(K,)`` exclusive token positions of the steps' ends.
        values: ``(K + 1,)`` state values as the choice saw them; unknown where nothing was drawn.
        critical: the critical step, or None.
        groups: rollouts from reset states, a group each; failed ones are missing.
    """

    anchor: int
    ends: tuple[int, ...]
    values: tuple[StateValue, ...]
    critical: CriticalStep | None
    groups: tuple[BranchGroup, ...] = ()

    @property
    def rollouts(self) -> tuple[ScoredContinuation, ...]:
        return tuple(rollout for group in self.groups for rollout in group.rollouts)


@dataclass
class GroupResult:
    """All re-entries of one prompt and their cost, by phase ``value`` (Monte Carlo) and ``reenter``.

    ``skipped`` says why the prompt was not examined, ``effort`` what was done (:attr:`TokenBudget.effort`), and
    ``engine_seconds`` what the engine itself computed.
    """

    reentries: list[Reentry] = field(default_factory=list)
    usage: dict[str, Usage] = field(default_factory=lambda: {"value": Usage(), "reenter": Usage()})
    skipped: str | None = None
    effort: str = "search"
    engine_seconds: float = 0.0


class ReentryEngine:
    """Runs GPO's search and re-entry, a prompt at a time. All prompts share the bound on requests in flight.

    Args:
        config: see :class:`verl_gpo.config.GPOConfig`.
        splitter: response tokens to step ends.
        response_length: most tokens of a response, kept prefix included.
    """

    def __init__(self, config: GPOConfig, splitter: Splitter, response_length: int):
        self.config = config
        self.splitter = splitter
        self.response_length = response_length
        self._slots = asyncio.Semaphore(config.max_in_flight)

    async def run(
        self,
        roots_N: Sequence[Trajectory],
        sampler: Sampler,
        scorer: Scorer,
        seed: str = "",
        step_budget: TokenBudget | None = None,
    ) -> GroupResult:
        """Search the group's anchors for critical steps and sample new rollouts from the reset states.

        Args:
            roots_N: the rollouts that the group sampled from the prompt, with their rewards.
            sampler: continues this prompt's states.
            scorer: scores this prompt's responses.
            seed: names the prompt; together with ``config.seed`` it fixes every random choice of the engine.
            step_budget: what this training step may spend; the engine counts its tokens against it.

        Returns:
            One :class:`Reentry` for each anchor. Anchors without tokens have no steps and so no critical one.
        """
        config = self.config
        result = GroupResult(effort=step_budget.effort if step_budget else "search")
        if is_skipped(roots_N, config.skip_groups, config.solved_reward):
            result.skipped = "skip_groups"
        elif result.effort == "none":
            result.skipped = "step_token_budget"
        anchors = choose_anchors(roots_N, config.anchors, config.anchor_outcome, config.solved_reward)
        if result.skipped or not anchors:
            return result
        budget = TokenBudget(config.prompt_token_budget, step_budget)
        draw = Draw(sampler, scorer, self.response_length, f"{config.seed}/{seed}", self._slots, budget)
        group = _Group(self, roots_N, anchors, f"{config.seed}/{seed}")
        search = SEARCHES[config.search]()
        # Short of tokens, a search becomes a proposal without its rounds: the most probable step by what is free.
        rounds = result.effort == "search"
        if search.looks and not rounds:
            search = SEARCHES["propose"]()

        started = time.perf_counter()
        while rounds:
            with _Stopwatch(result):
                plan = group.plan(search, budget.left)
            if not plan:
                break
            drawn = await draw.together(plan, config.max_continuation_tokens, result.usage["value"])
            group.learn(drawn)
        result.usage["value"].seconds = time.perf_counter() - started

        started = time.perf_counter()
        with _Stopwatch(result):
            chosen = [search.choose(view) if view.steps else None for view in group.views]
        missing = group.missing(search, chosen, budget.left)
        added = await draw.together(missing, 0, result.usage["reenter"]) if missing else {}
        result.reentries = group.results(search, chosen, added)
        result.usage["reenter"].seconds = time.perf_counter() - started
        return result


class _Group:
    """What is known of one prompt: its anchors, and every continuation drawn, by prefix."""

    def __init__(self, engine: ReentryEngine, roots_N: Sequence[Trajectory], anchors: list[int], seed: str):
        config = engine.config
        self._config = config
        self._rewards = [root.reward for root in roots_N]
        self._root_value = group_value(self._rewards)
        self._samples: dict[Tokens, list[ScoredContinuation]] = {}
        self._values: dict[Tokens, StateValue] = {}
        self._sequential = SEARCHES[config.search].sequential
        self.anchors = anchors
        expected = sum(len(root.token_ids) for root in roots_N) / len(roots_N)
        budget = config.prefix_budget(engine.response_length)
        self.views = []
        for anchor in anchors:
            root = roots_N[anchor]
            ends = tuple(engine.splitter(root.token_ids, root.log_probs))
            rng = random.Random(f"{seed}/{anchor}")
            self.views.append(AnchorView(config, root, ends, budget, expected, rng, *self._known(root, ends)))

    def _known(self, root: Trajectory, ends: tuple[int, ...]) -> tuple[list[StateValue], tuple[float, float]]:
        inner = [self._values.get(root.token_ids[:end], UNKNOWN) for end in ends[:-1]]
        values = [self._root_value, *inner, observed_value(root.reward)] if ends else [self._root_value]
        return values, (min(0.0, *self._rewards), max(1.0, *self._rewards))

    def plan(self, search: Search, tokens_left: float) -> dict[Tokens, int]:
        """The next round: prefix -> continuations. Anchors that agree up to a state share what is drawn there."""
        plan: dict[Tokens, int] = {}
        for view in self.views:
            states = search.plan(view) if view.steps else ()
            wanted: dict[Tokens, int] = {}
            for state in states:
                tokens_left -= view.continuation_tokens(state)
                if tokens_left < 0:
                    break
                prefix = view.prefix(state)
                wanted[prefix] = wanted.get(prefix, 0) + 1
                view.requested_K[state] += 1
            for prefix, count in wanted.items():
                plan[prefix] = max(plan.get(prefix, 0), count)
        return plan

    def learn(self, drawn: dict[Tokens, tuple[ScoredContinuation, ...]]) -> None:
        """Take note of a round's continuations."""
        for prefix, samples in drawn.items():
            known = self._samples.setdefault(prefix, [])
            known.extend(samples)
            self._rewards.extend(sample.reward for sample in samples)
            seen = [
                sample
                for number, sample in enumerate(known)
                if takes_part_in_choice(self._config.learn_from, self._sequential, number)
            ]
            self._values[prefix] = monte_carlo_value(seen)
        for view in self.views:
            view.learn(*self._known(view.root, view.ends_K))

    def missing(self, search: Search, chosen: Sequence[CriticalStep | None], left: float) -> dict[Tokens, int]:
        """Continuations to draw from the reset states after the choice, as far as the tokens left go."""
        plan: dict[Tokens, int] = {}
        for view, critical in zip(self.views, chosen, strict=True):
            if critical is None:
                continue
            state = view.reset_state(critical.index)
            prefix = view.prefix(state)
            drawn = len(self._samples.get(prefix, ()))
            config = self._config
            count = missing_continuations(config.learn_from, search.sequential, state, drawn, config.n_reentry)
            affordable = int(min(count, left // view.continuation_tokens(state)))
            count = affordable if affordable + drawn > 1 else 0  # a group of one has nothing to be compared with
            left -= count * view.continuation_tokens(state)
            plan[prefix] = max(plan.get(prefix, 0), count)
        return {prefix: count for prefix, count in plan.items() if count}

    def results(
        self,
        search: Search,
        chosen: Sequence[CriticalStep | None],
        added: dict[Tokens, tuple[ScoredContinuation, ...]],
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
                prefix = view.prefix(state)
                if prefix in taken or owners.get(prefix, anchor) != anchor:
                    continue
                if prefix in self._samples or state == reset:
                    drawn[state] = (prefix, self._samples.get(prefix, ()))
            new = () if reset is None else added.get(view.prefix(reset), ())
            groups = branch_groups(self._config.learn_from, search.sequential, drawn, reset, new)
            taken.update(group.prefix for group in groups)
            reentries.append(Reentry(anchor, view.ends_K, tuple(view.values_K1), critical, groups))
        return reentries


class _Stopwatch:
    """Adds the seconds of a block without awaits to the engine's own."""

    def __init__(self, result: GroupResult):
        self._result = result

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._result.engine_seconds += time.perf_counter() - self._started
