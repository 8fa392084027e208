"""Draws the record of one prompt: root rollouts, and rollouts from reset states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..config import GPOConfig
from ..core.draw import Draw, Usage
from ..core.reentry import ReentryProcedure
from ..core.result import Reentry
from ..core.scheduler import Scheduler
from ..core.types import Sampler, SamplingError, ScoredContinuation, Scorer, Splitter
from ..inference.conversation import Conversation
from .records import Record, Rollout, State, Task

#: name -> the state from which the continuations of a pair are drawn.
METHODS: dict[str, str] = {
    "gpo": "rollouts from the state before the critical step",
    "authors": "rollouts from the state of highest mean, the prefix repeated on both sides: the authors' own code",
    "random": "rollouts from the state before a random step: the paper's ablation",
    "plain": "whole responses: the baseline",
}


class Explorer:
    """Draws the records of a build. All prompts share the limit on requests in flight.

    Args:
        method: a key of :data:`METHODS`.
        config: of the search and the re-entry; for ``plain`` only its seed and bounds are used.
        splitter: response tokens to step ends.
        response_length: most tokens of a response, kept prefix included.
        roots: rollouts from each prompt.
        settings: hash that the records carry.
    """

    def __init__(
        self, method: str, config: GPOConfig, splitter: Splitter, response_length: int, roots: int, settings: str
    ):
        self._engine = None if method == "plain" else ReentryProcedure(config, splitter, response_length)
        self._config = config
        self._response_length = response_length
        self._repeats_prefix = method == "authors"
        self._roots = roots
        self._settings = settings
        self._scheduler = Scheduler(config.max_in_flight)

    async def explore(
        self, task: Task, problem: str, prompt_ids: list[int], sampler: Sampler, scorer: Scorer
    ) -> Record:
        """Visit one prompt.

        Raises:
            SamplingError: not one root rollout came back with a reward.
        """
        seed = f"{task.visit}/{task.index}"
        usage = Usage()
        draw = Draw(sampler, scorer, self._response_length, f"{self._config.seed}/{seed}/roots", self._scheduler)
        drawn = await draw.roots(self._roots, usage)
        if not drawn:
            raise SamplingError(
                f"no root rollout: {usage.sampling_failures} failed, {usage.scoring_failures} got no reward"
            )
        roots = tuple(_rollout(sample) for sample in drawn)
        tokens = {"root": usage.tokens, "value": 0, "reentry": 0}
        failures = usage.sampling_failures + usage.scoring_failures
        states: list[State] = []
        if self._engine is not None:
            trajectories = [sample.trajectory() for sample in drawn]
            result = await self._engine.run(trajectories, sampler, scorer, seed)
            for reentry in result.reentries:
                states += self._states(reentry, roots)
            for phase, spent in result.usage.items():
                tokens[phase] += spent.tokens
                failures += spent.sampling_failures + spent.scoring_failures
        return Record(
            task.index,
            task.visit,
            problem,
            tuple(prompt_ids),
            roots,
            tuple(states),
            tokens,
            failures,
            self._settings,
        )

    def _states(self, reentry: Reentry, roots: tuple[Rollout, ...]) -> list[State]:
        critical, steps = reentry.critical, len(reentry.ends)

        def state(
            step: int,
            prefix: tuple[int, ...],
            is_critical: bool,
            rollouts: tuple[Rollout, ...],
            messages: tuple[dict[str, Any], ...] | None,
        ) -> State:
            known = critical if is_critical else None
            if self._repeats_prefix:  # the prompt of a pair is the question, and its two sides begin with the prefix
                rollouts = tuple(Rollout(prefix + one.token_ids, one.reward, one.finish) for one in rollouts)
                prefix = ()
            return State(
                prefix,
                step,
                steps,
                is_critical,
                _finite(known.advantage) if known else None,
                _finite(known.confidence) if known else None,
                rollouts,
                messages,
            )

        states = [
            state(
                group.state,
                group.prefix,
                group.critical,
                tuple(_rollout(sample) for sample in group.rollouts),
                _before(group.rollouts),
            )
            for group in reentry.groups
        ]
        # The roots are the rollouts that were drawn at s_0. An online trainer trains on them as a separate group, so
        # the procedure leaves them out of its result; here they have to be added.
        if critical is not None and self._config.learn_from in ("reuse", "all"):
            at_start = critical.index + (self._config.reset == "after") == 0
            if at_start and not any(group.state == 0 for group in reentry.groups):
                states.append(state(0, (), True, roots, () if roots[0].messages is not None else None))
        return states


def _rollout(sample: ScoredContinuation) -> Rollout:
    continuation = sample.continuation
    said, written = continuation.source, continuation.written
    return Rollout(
        tuple(continuation.token_ids),
        sample.reward,
        str(said),
        None if written is None else tuple(written),
        said.messages if isinstance(said, Conversation) else None,
    )


def _before(rollouts: Sequence[ScoredContinuation]) -> tuple[dict[str, Any], ...] | None:
    """The messages between the prompt and the state that these continuations began in."""
    said = rollouts[0].continuation.source if rollouts else None
    return said.before if isinstance(said, Conversation) and not said.within else None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
