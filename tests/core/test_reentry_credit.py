"""The procedure with ``credit=steps``: what is credited, by which continuations, and that the search stays the same."""

import pytest

from tests.core.fakes import CoinPolicy, FakePolicy, root, run
from verl_gpo.core.types import ScoredContinuation


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose", "random"])
def test_credit_changes_nothing_of_the_search(search):
    values = (0.3, 0.2, 0.7, 0.1, 0.6, 0.4)
    roots = [root(tokens=12), root(reward=0.0, first=50)]
    for seed in range(4):
        outcomes = []
        for credit in ("outcome", "steps"):
            policy = CoinPolicy(lambda n: values[n // 2])
            result = run(policy, roots, search=search, n_mc=4, seed=str(seed), credit=credit)
            (reentry,) = result.reentries
            outcomes.append((policy.requests, repr(reentry.critical), [r.reward for r in reentry.rollouts]))
            assert (reentry.credit is not None) == (credit == "steps" and bool(policy.requests))
        assert outcomes[0] == outcomes[1]


def test_credit_by_means_counts_the_continuations_of_the_reentry_too():
    # V = .5 .5 1 0 | 1: the last step gains 1. Four new rollouts from s_3 come to 0 1 1 1: V(s_3) = 3/8.
    policy = FakePolicy({2: [0, 1, 0, 1], 4: [1], 6: [0, 0, 0, 0, 0, 1]})
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, credit="steps").reentries
    assert reentry.critical.index == 3 and [r.reward for r in reentry.rollouts] == [0, 1, 1, 1]
    assert reentry.credit.ends == (2, 4, 6, 8)
    assert reentry.credit.advantages == pytest.approx((0.0, 0.5, -0.625, 0.625)) and reentry.credit.total == 0.5


def test_half_that_is_kept_out_of_the_choice_counts_for_the_credit():
    policy = FakePolicy({2: [0, 1, 0, 1], 4: [1], 6: [1]})
    (reentry,) = run(policy, [root(), root(reward=0.0)], n_mc=4, credit="steps", learn_from="split").reentries
    assert reentry.values[1].mean == 0.0 and reentry.credit.advantages == (0.0, 0.5, 0.0, 0.0)


def test_a_random_reset_gives_two_segments():
    policy = FakePolicy({n: [0, 1, 1, 1] for n in (0, 2, 4, 6)})
    credits = set()
    for seed in range(8):
        (reentry,) = run(policy, [root(), root(reward=0.0)], search="random", credit="steps", seed=str(seed)).reentries
        if reentry.critical.index:
            credits.add(reentry.credit.ends)
            assert len(reentry.credit.ends) == 2 and sum(reentry.credit.advantages) == 0.5
        else:  # from the prompt nothing is known between the steps
            assert reentry.credit is None
    assert len(credits) > 1


def test_without_reentry_only_values_are_drawn_whatever_is_learnt_from():
    for search in ("uniform", "bisection", "adaptive"):
        policy = CoinPolicy(lambda n: 0.5)
        settings = {"n_reentry": 0, "credit": "steps", "anchors": 0, "search": search, "learn_from": "all"}
        result = run(policy, [root(), root(reward=0.0, first=50)], **settings)
        assert [reentry.groups for reentry in result.reentries] == [(), ()]
        assert result.usage["reentry"].requests == 0 and result.usage["value"].requests == len(policy.requests) > 0
        assert all(reentry.credit is not None for reentry in result.reentries)


def test_the_belief_credits_states_that_were_not_drawn_from():
    policy = CoinPolicy(lambda n: float(n >= 8))
    roots = [root(tokens=12), root(tokens=12, reward=0.0, first=50)]
    (reentry,) = run(policy, roots, search="adaptive", n_mc=4, credit="steps").reentries
    drawn = sum(value.count > 0 for value in reentry.values[1:-1])
    assert drawn < 5 and len(reentry.credit.ends) == 6
    assert max(range(6), key=lambda k: reentry.credit.advantages[k]) == 3  # from 6 tokens to 8
    assert 0.5 < reentry.credit.weights[3] <= 1.0


@pytest.mark.parametrize("scored", ["response", "continuation"])
def test_a_reward_function_sees_the_response_or_the_continuation_alone(scored):
    class Seen(FakePolicy):
        async def score(self, prefix, continuation):
            seen.append(prefix)
            return ScoredContinuation(continuation, 1.0)

    seen, policy = [], Seen({})
    run(policy, [root(), root(reward=0.0)], n_mc=1, n_reentry=1, scored=scored)
    assert set(seen) == ({()} if scored == "continuation" else {(0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5)})
