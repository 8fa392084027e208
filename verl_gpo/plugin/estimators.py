"""verl's advantage estimators, seen by what re-entry asks of them.

A re-entry row carries the group id of its reset state in the ``uid`` column, so an estimator that takes its baseline
from the rows of a ``uid`` compares it with its own kind. What an estimator takes from the whole batch it would take
from roots and re-entry rows together.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Estimators whose baseline is a critic's: one row needs no others.
BY_CRITIC = ("gae",)

#: verl's estimators that compare the rows of a ``uid``. Those that a user registers are taken to do the same.
BY_GROUP = (
    "gpo",
    "grpo",
    "grpo_vectorized",
    "grpo_passk",
    "rloo",
    "rloo_vectorized",
    "opo",
    "gpg",
    "reinforce_plus_plus_baseline",
)

#: Estimators that cannot be had with re-entry, and what to set instead.
REFUSED: Mapping[str, str] = {
    "remax": "must be another with re-entry, say gpo, grpo, rloo or gae: remax takes its baseline from a greedy "
    "rollout of the prompt, and a reset state has none",
    "reinforce_plus_plus": "must be gpo with algorithm.gpo.base_estimator=reinforce_plus_plus: verl's own takes one "
    "baseline from all rows, so roots and re-entry rollouts would share it",
    "grpo_passk": "must be another with re-entry, say gpo or rloo: grpo_passk stops at a group of one, and the rows "
    "that pad a batch may be one",
}

#: What ``algorithm.gpo.base_estimator`` may be: estimators that ask for rewards, masks and group ids, and no more.
BASES = ("grpo", "rloo", "opo", "gpg", "reinforce_plus_plus", "reinforce_plus_plus_baseline")

#: Of these, those that look at single rows: they need no second one from the same state.
UNGROUPED_BASES = ("reinforce_plus_plus",)


def needs_group(estimator: str, base_estimator: str) -> bool:
    """Whether a re-entry rollout that is alone at its reset state has no baseline, and so is of no use."""
    return estimator not in BY_CRITIC and not (estimator == "gpo" and base_estimator in UNGROUPED_BASES)


def smallest_group(estimator: str, base_estimator: str) -> int:
    """Rollouts from the same state that an optimizer needs to learn from them."""
    return 2 if needs_group(estimator, base_estimator) else 1
