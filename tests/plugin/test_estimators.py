"""verl's estimators as re-entry sees them: which need a second row of the same state, and which are refused."""

import pytest
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

from verl_gpo.plugin import register  # noqa: F401  (registers gpo)
from verl_gpo.plugin.estimators import BASES, BY_CRITIC, BY_GROUP, REFUSED, UNGROUPED_BASES, needs_group


@pytest.mark.parametrize(
    ("estimator", "base", "needs"),
    [
        ("grpo", "grpo", True),
        ("rloo", "grpo", True),
        ("gae", "grpo", False),
        ("gpo", "grpo", True),
        ("gpo", "rloo", True),
        ("gpo", "reinforce_plus_plus", False),
        ("grpo", "reinforce_plus_plus", True),  # what gpo would compute does not matter to another
        ("mine", "grpo", True),
    ],
)
def test_who_needs_a_second_row(estimator, base, needs):
    assert needs_group(estimator, base) is needs


def test_every_name_is_one_of_verls_estimators():
    known = {getattr(name, "value", name) for name in ADV_ESTIMATOR_REGISTRY}
    named = {*BY_CRITIC, *BY_GROUP, *REFUSED, *BASES}
    assert named <= known and "gpo" in known
    assert set(UNGROUPED_BASES) < set(BASES) and not set(BY_CRITIC) & set(BASES)


def test_what_is_refused_says_what_to_set_instead():
    assert all(said.startswith("must be ") and "\n" not in said for said in REFUSED.values())
