"""The expected cost of GPO, known before a run: tokens and requests, computed from the settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config import GPOConfig
from .learn import LEARN_FROM
from .search import SEARCHES


@dataclass(frozen=True)
class Cost:
    """Expected cost of one training step.

    Attributes:
        plain_tokens: tokens that plain GRPO generates.
        root_tokens: tokens of the root rollouts; under ``rows=matched`` there are fewer of them than in plain GRPO.
        value_tokens: tokens of the Monte Carlo continuations. ``adaptive`` and ``propose`` may stop early; for them it
            is an upper bound.
        reentry_tokens: tokens of the rollouts that are drawn after the choice.
        requests: continuations and rollouts besides the roots.
        root_rows, reentry_rows: rows of the batch that the optimizer sees.
    """

    plain_tokens: float
    root_tokens: float
    value_tokens: float
    reentry_tokens: float
    requests: float
    root_rows: float
    reentry_rows: float

    @property
    def multiple(self) -> float:
        """All tokens as a multiple of plain GRPO's."""
        return (self.root_tokens + self.value_tokens + self.reentry_tokens) / self.plain_tokens


def expected_cost(
    config: GPOConfig, steps: int, response_tokens: float, n: int, prompts: int = 1, examined: float = 1.0
) -> Cost:
    """Cost of a training step, if all steps have the same length and continuations are as long as what they replace.

    Args:
        config: the settings.
        steps: number of steps ``K`` of a response.
        response_tokens: mean length of a response.
        n: ``rollout.n``.
        prompts: number of prompts of a training step.
        examined: share of the prompts that are examined and have a critical step (skip rules, abstention).

    Raises:
        ValueError: a count below 1, or a share outside [0, 1].
    """
    for key, value in (("steps", steps), ("response_tokens", response_tokens), ("n", n), ("prompts", prompts)):
        if value < 1:
            raise ValueError(f"{key}={value}: must be at least 1")
    if not 0 <= examined <= 1:
        raise ValueError(f"examined={examined}: must be a number from 0 to 1")
    reserved = min(config.reserved_rows, n - 1) if config.enable else 0
    started = n - reserved
    anchors = prompts * examined * min(config.anchors or started, started) if config.enable else 0.0
    lengths = [response_tokens * (1 - k / steps) for k in range(1, steps)]
    typical = sum(lengths) / len(lengths) if lengths else response_tokens
    search = SEARCHES[config.search]()
    draws = search.expected_draws(config, steps, started)
    learnt = LEARN_FROM[config.learn_from].expected(search, draws, config.n_reentry)
    drawn = draws.search + draws.at_prompt
    reentry_rows = anchors * (min(learnt.rows, config.n_reentry) if reserved else learnt.rows)
    # A reserved row that no re-entry rollout takes is filled with one more root rollout.
    root_rows = prompts * n - reentry_rows if reserved else float(prompts * n)
    return Cost(
        plain_tokens=prompts * n * response_tokens,
        root_tokens=root_rows * response_tokens,
        value_tokens=anchors * (drawn * min(typical, config.max_continuation_tokens or math.inf)),
        reentry_tokens=anchors * learnt.after * typical,
        requests=anchors * (drawn + learnt.after),
        root_rows=root_rows,
        reentry_rows=reentry_rows,
    )
