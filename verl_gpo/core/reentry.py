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
import time
from collections.abc import Callable, Sequence

from ..config import GPOConfig
from .anchors import choose_anchors, is_skipped
from .budget import TokenBudget
from .draw import Draw
from .group import Group
from .result import GroupResult
from .search import SEARCHES
from .search.propose import ProposeSearch
from .types import Sampler, Scorer, Splitter, Trajectory


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
        on_choice: Callable[[], None] = lambda: None,
        given: Sequence[int] = (),
    ) -> GroupResult:
        """Search the group's anchors for critical steps and sample new rollouts from the reset states.

        Args:
            roots_N: the rollouts that the group sampled from the prompt, with their rewards.
            sampler: continues this prompt's states.
            scorer: scores this prompt's responses.
            seed: names the prompt; together with ``config.seed`` it fixes every random choice of the engine.
            step_budget: what this training step may spend; the engine counts its tokens against it.
            on_choice: called between the phases ``value`` and ``reenter``, for those who show progress.

            given: steps of the responses that the data set says are decisive, for ``search=given``.

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
        # Short of tokens, a search becomes a proposal without its rounds: the most probable step by what is free.
        search, rounds = SEARCHES[config.search](), result.effort == "search"
        if search.looks and not rounds:
            search = ProposeSearch()
        with _Stopwatch(result):
            group = Group(
                config, search, self.splitter, self.response_length, roots_N, anchors, f"{config.seed}/{seed}", given
            )

        started = time.perf_counter()
        while rounds:
            with _Stopwatch(result):
                wanted = group.next_round(budget.left)
            if not wanted:
                break
            drawn = await draw.together(wanted, config.max_continuation_tokens, result.usage["value"])
            with _Stopwatch(result):
                group.observe(drawn)
        result.usage["value"].seconds = time.perf_counter() - started

        started = time.perf_counter()
        with _Stopwatch(result):
            chosen = group.choose()
            missing = group.missing(chosen, budget.left)
        on_choice()
        added = await draw.together(missing, 0, result.usage["reenter"]) if missing else {}
        with _Stopwatch(result):
            result.reentries = group.results(chosen, added)
        result.usage["reenter"].seconds = time.perf_counter() - started
        return result


class _Stopwatch:
    """Adds the CPU seconds of a block without awaits to the engine's own."""

    def __init__(self, result: GroupResult):
        self._result = result

    def __enter__(self) -> None:
        self._started = time.thread_time()

    def __exit__(self, *exception: object) -> None:
        self._result.engine_seconds += time.thread_time() - self._started
