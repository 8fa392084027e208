"""Which of verl's advantage estimators work with re-entry, and what to set instead of the others.

A re-entry row carries the group id of its reset state in the ``uid`` column, so an estimator that takes its baseline
from the rows of a ``uid`` compares it with rollouts from the same state. Statistics that an estimator takes from the
whole batch would mix roots and re-entry rows.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Estimators whose baseline comes from a critic: a row needs no other rows.
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

#: Estimators that do not work with re-entry, and what to set instead.
REFUSED: Mapping[str, str] = {
    "remax": "must be another with re-entry, say gpo, grpo, rloo or gae: remax takes its baseline from a greedy "
    "rollout of the prompt, and a reset state has none",
    "reinforce_plus_plus": "must be gpo with algorithm.gpo.base_estimator=reinforce_plus_plus: verl's own takes one "
    "baseline from all rows, so roots and re-entry rollouts would share it",
    "grpo_passk": "must be another with re-entry, say gpo or rloo: grpo_passk raises an error for a group of one row, "
    "and a padding row may be such a group",
}

#: Values of ``algorithm.gpo.base_estimator``: estimators that need only rewards, masks and group ids.
BASES = ("grpo", "rloo", "opo", "gpg", "reinforce_plus_plus", "reinforce_plus_plus_baseline")

#: Those of them that treat each row by itself: they need no second row from the same state.
UNGROUPED_BASES = ("reinforce_plus_plus",)


#: Values of ``algorithm.gpo.base_estimator`` with which ``credit=steps`` works: the advantage of a row is in proportion
#: to its reward within its group, and the advantages of its steps get the same scale.
CREDITING = ("grpo", "rloo", "opo", "gpg", "reinforce_plus_plus_baseline")


def refuses_credit(estimator: str, base_estimator: str) -> tuple[str, str] | None:
    """Why an estimator cannot credit steps: the key under ``algorithm``, and what is allowed; None where it can."""
    if estimator not in ("gpo", *BY_CRITIC):
        return "adv_estimator", (
            "must be gpo or gae with algorithm.gpo.credit=steps: the credit of a row is in its group id, which no "
            "other estimator reads (gpo has rloo, opo, gpg and reinforce_plus_plus_baseline as base_estimator)"
        )
    if estimator == "gpo" and base_estimator not in CREDITING:
        return "gpo.base_estimator", (
            f"must be one of {', '.join(CREDITING)} with algorithm.gpo.credit=steps: {base_estimator} compares a row "
            "with the whole batch, so there is no advantage of a group to scale the steps to"
        )
    return None


def needs_group(estimator: str, base_estimator: str) -> bool:
    """Whether a re-entry rollout that is alone at its reset state has no baseline, and so gives no gradient."""
    return estimator not in BY_CRITIC and not (estimator == "gpo" and base_estimator in UNGROUPED_BASES)


def smallest_group(estimator: str, base_estimator: str) -> int:
    """Rollouts from the same state that an optimizer needs to learn from them."""
    return 2 if needs_group(estimator, base_estimator) else 1
