"""What GPO will cost, before a run: tokens and requests from step counts and settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..config import GPOConfig
from .learn import check_size, missing_continuations
from .search import SEARCHES


@dataclass(frozen=True)
class Cost:
    """Expected cost of one training step.

    Attributes:
        plain_tokens: what plain GRPO generates.
        root_tokens: of the root rollouts; under ``rows=matched`` there are fewer of them than in plain GRPO.
        value_tokens: of the Monte Carlo continuations; for ``adaptive`` and ``propose``, which stop early, at most.
        reentry_tokens: of rollouts after the choice.
        requests: continuations and rollouts besides the roots.
        root_rows, branch_rows: rows of the batch that the optimizer sees.
    """

    plain_tokens: float
    root_tokens: float
    value_tokens: float
    reentry_tokens: float
    requests: float
    root_rows: float
    branch_rows: float

    @property
    def multiple(self) -> float:
        """All tokens as a multiple of plain GRPO's."""
        return (self.root_tokens + self.value_tokens + self.reentry_tokens) / self.plain_tokens


def expected_cost(
    config: GPOConfig, steps: int, response_tokens: float, n: int, prompts: int = 1, examined: float = 1.0
) -> Cost:
    """Cost of a training step, if steps are of equal length and continuations as long as what they replace.

    Args:
        config: the settings.
        steps: steps ``K`` of a response.
        response_tokens: mean length of a response.
        n: ``rollout.n``.
        prompts: prompts of a training step.
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
    cap = config.max_continuation_tokens or math.inf
    typical = sum(lengths) / len(lengths) if lengths else response_tokens
    draws, group, after = _draws(config, steps)
    if started == 1 and steps > 1 and config.search in ("uniform", "bisection"):
        draws += config.n_mc  # V(s_0), which no group tells
    value = draws * min(typical, cap)
    branches = anchors * (min(group, config.n_reentry) if reserved else group)
    # Where no re-entry rollout takes a reserved place, a further root does.
    roots = prompts * n - branches if reserved else float(prompts * n)
    return Cost(
        plain_tokens=prompts * n * response_tokens,
        root_tokens=roots * response_tokens,
        value_tokens=anchors * value,
        reentry_tokens=anchors * after * typical,
        requests=anchors * (draws + after),
        root_rows=roots,
        branch_rows=branches,
    )


def _draws(config: GPOConfig, steps: int) -> tuple[float, float, float]:
    """For one anchor: continuations of the search, rows that are learnt from, and rollouts after the choice."""
    share = config.explore_share if SEARCHES[config.search].looks else 0.0
    searched, explored = _draws_of(config, steps), _draws_of(replace(config, search="random"), steps)
    draws, group, after = ((1 - share) * one + share * other for one, other in zip(searched, explored, strict=True))
    return draws, group, after


def _draws_of(config: GPOConfig, steps: int) -> tuple[float, float, float]:
    inner = max(steps - 1, 0)
    if config.search == "none":
        return 0.0, 0.0, 0.0
    states = {
        "uniform": min(inner, 2 * config.max_candidates or inner),
        "bisection": math.ceil(math.log2(max(steps, 1))),
    }
    looks = SEARCHES[config.search].looks
    if not looks:
        draws = 0
    elif config.search in states:
        draws = states[config.search] * config.n_mc
    elif config.search == "adaptive":
        draws = config.adaptive_budget(steps) if inner else 0
    else:
        draws = check_size(config.learn_from, config.n_reentry) * config.max_proposals if inner else 0
    # A state that was chosen without a search has no continuations to learn from.
    if config.learn_from == "fresh" or not looks:
        return draws, config.n_reentry, config.n_reentry
    if config.learn_from == "all":
        return draws, draws, 0.0
    if config.search == "adaptive":
        return draws, min(config.n_reentry, draws), 0.0
    if config.search == "propose":
        checked, strategy = check_size(config.learn_from, config.n_reentry), SEARCHES[config.search]
        missing = missing_continuations(
            config.learn_from, strategy.sequential, 1, checked, config.n_reentry, strategy.by_group
        )
        after = missing if inner else 0
        return draws, after or min(config.n_reentry, draws), after
    return draws, min(config.n_mc // 2 if config.learn_from == "split" else config.n_mc, draws), 0.0
