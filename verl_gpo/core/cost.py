"""The expected cost of GPO, known before a run: tokens and requests, computed from the settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config import GPOConfig
from .learn import LEARN_FROM
from .learn.base import Learnt, placeholders
from .search import SEARCHES

#: More steps than a response has: what learns nothing with as many of them never learns.
_MANY_STEPS = 2**16


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


def rows_of_group(config: GPOConfig, rollouts: float, smallest_group: int) -> float:
    """Rows that are learnt from, of the rollouts of one re-entry group.

    Args:
        config: the settings. Under ``rows=matched`` a group has ``n_reentry`` places.
        rollouts: of the group.
        smallest_group: 2 for an optimizer that compares the rollouts of a group, 1 for one that looks at single rows.

    Returns:
        Their number; 0 for a group that is too small to be compared.
    """
    if config.rows == "replaced":
        return min(rollouts, 1)  # it is compared with the other roots, in its anchor's place
    rows = min(rollouts, config.n_reentry) if config.reserved_rows else rollouts
    return rows if rows >= smallest_group else 0


def most_rows(config: GPOConfig, smallest_group: int, steps: int = _MANY_STEPS) -> int:
    """The most rows that a re-entry group can give; 0 where the settings never learn from one.

    The search and what is learnt from say it themselves, with continuations that stand for real ones. Budgets of tokens
    and requests that fail are left out.

    Args:
        config: the settings.
        smallest_group: as in :func:`rows_of_group`.
        steps: of a response; a search with a budget by the number of steps may draw more of a longer one.

    Example:
        ``most_rows(GPOConfig(learn_from="split", n_mc=3), 2)`` is 0: of three continuations one is kept out of the
        choice, and it has nothing to be compared with.
    """
    search, learn_from = SEARCHES[config.search](), LEARN_FROM[config.learn_from]
    sizes = [0]
    if not config.n_reentry:
        return 0
    for drawn in search.drawn_at_reset(config, steps) if config.enable else ():
        added = learn_from.missing(search, 1, drawn, config.n_reentry)
        sizes.append(learn_from.group_size(search, placeholders(drawn), added))
    return int(rows_of_group(config, max(sizes), smallest_group))


def expected_cost(
    config: GPOConfig,
    steps: int,
    response_tokens: float,
    n: int,
    prompts: int = 1,
    examined: float = 1.0,
    smallest_group: int = 2,
) -> Cost:
    """Cost of a training step, if all steps have the same length and continuations are as long as what they replace.

    Args:
        config: the settings.
        steps: number of steps ``K`` of a response.
        response_tokens: mean length of a response.
        n: ``rollout.n``.
        prompts: number of prompts of a training step.
        examined: share of the prompts that are examined and have a critical step (skip rules, abstention).
        smallest_group: as in :func:`rows_of_group`.

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
    if not most_rows(config, smallest_group, steps):
        learnt = Learnt(0, 0)
    drawn = draws.search + draws.at_prompt
    reentry_rows = anchors * rows_of_group(config, learnt.rows, smallest_group)
    # A reserved row that no re-entry rollout takes is filled with one more root rollout.
    roots = prompts * n - reentry_rows if reserved else float(prompts * n)
    root_rows = roots
    if config.enable and config.rows == "replaced":
        root_rows -= reentry_rows
    elif config.enable and config.rows == "downsampled":
        root_rows = float(prompts * min(config.kept_rows, n))
    return Cost(
        plain_tokens=prompts * n * response_tokens,
        root_tokens=roots * response_tokens,
        value_tokens=anchors * (drawn * min(typical, config.max_continuation_tokens or math.inf)),
        reentry_tokens=anchors * learnt.after * typical,
        requests=anchors * (drawn + learnt.after),
        root_rows=root_rows,
        reentry_rows=reentry_rows,
    )
