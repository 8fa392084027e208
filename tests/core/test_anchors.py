"""Which prompts are examined, and which of their responses."""

from types import SimpleNamespace

import pytest

from tests.core.fakes import FakePolicy, root, run
from verl_gpo.core.anchors import ANCHOR_OUTCOMES, SKIP_GROUPS, choose_anchors, is_skipped
from verl_gpo.core.types import Trajectory


def group(*rewards):
    """Responses that differ."""
    return [Trajectory((n,), None, reward) for n, reward in enumerate(rewards)]


@pytest.mark.parametrize(
    ("rule", "skipped"),
    [  # all right, all wrong, mixed
        ("none", (False, False, False)),
        ("solved", (True, False, False)),
        ("failed", (False, True, False)),
        ("unanimous", (True, True, False)),
        ("mixed", (False, False, True)),
    ],
)
def test_skip_rules_by_hand(rule, skipped):
    groups = (group(1, 1), group(0, 0), group(1, 0))
    assert tuple(is_skipped(roots, rule, 0.5) for roots in groups) == skipped


def test_every_rule_has_a_row_above():
    assert list(SKIP_GROUPS) == ["none", "solved", "failed", "unanimous", "mixed"]
    assert list(ANCHOR_OUTCOMES) == ["any", "failed", "solved"]


def test_solved_is_a_matter_of_the_threshold():
    assert is_skipped(group(0.7, 0.9), "solved", 0.7) and not is_skipped(group(0.7, 0.9), "solved", 0.71)
    assert is_skipped(group(-1.0, -1.0), "solved", -1.0)


@pytest.mark.parametrize(
    ("count", "outcome", "anchors"),
    [
        (1, "any", [0]),
        (2, "any", [0, 1]),
        (0, "any", [0, 1, 2, 3]),
        (9, "any", [0, 1, 2, 3]),
        (1, "solved", [1]),
        (0, "solved", [1, 2]),
        (0, "failed", [0, 3]),
    ],
)
def test_anchors_by_hand(count, outcome, anchors):
    assert choose_anchors(group(0, 1, 1, 0), count, outcome, 0.5) == anchors


def test_the_same_response_twice_is_one_anchor():
    roots = [Trajectory(tokens, None, 1.0) for tokens in ((1, 2), (3,), (1, 2), (1,))]
    assert choose_anchors(roots, 0, "any", 0.5) == [0, 1, 3]
    assert choose_anchors(roots, 3, "any", 0.5) == [0, 1, 3]


def test_a_response_that_does_not_qualify_does_not_hide_its_double():
    # Two equal texts, one of which was scored otherwise (a flaky grader, or a timeout).
    roots = [Trajectory((1,), None, 0.0), Trajectory((1,), None, 1.0)]
    assert choose_anchors(roots, 1, "solved", 0.5) == [1]


@pytest.mark.parametrize(
    ("rewards", "settings", "skipped"),
    [((1, 1), {"skip_groups": "solved"}, "skip_groups"), ((1, 0), {"skip_groups": "solved"}, None)],
)
def test_a_skipped_prompt_costs_nothing_and_says_why(rewards, settings, skipped):
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    result = run(policy, [root(reward=rewards[0]), root(reward=rewards[1], first=50)], **settings)
    assert result.skipped == skipped
    assert bool(policy.requests) == bool(result.reentries) == (skipped is None)


def test_no_response_qualifies():
    policy = FakePolicy({})
    result = run(policy, [root(reward=1.0)], anchor_outcome="failed")
    assert result.reentries == [] and result.skipped is None and not policy.requests


def test_the_anchor_is_named_by_its_place_in_the_group():
    policy = FakePolicy({2: [0], 4: [0], 6: [1]})
    roots = [root(reward=0.0), root(reward=1.0, first=50), root(reward=1.0, first=50), root(reward=1.0, first=90)]
    result = run(policy, roots, anchors=0, anchor_outcome="solved")
    assert [reentry.anchor for reentry in result.reentries] == [1, 3]
    assert {prefix[0] for prefix, _, _ in policy.requests} == {50, 90}


def test_an_empty_group_is_survived():
    result = run(SimpleNamespace(), [])
    assert result.reentries == [] and result.usage["value"].requests == 0
