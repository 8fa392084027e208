"""The procedure against fake policies whose state values are known."""

import pytest

from tests.core.fakes import LENGTH, CoinPolicy, FakePolicy, balance, every_way, pairs_of_tokens, root, run
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.types import StalledError, Trajectory

# The paper's search, by hand.


def test_values_choice_and_reset_by_hand():
    # One root of four steps and reward 1 in a group with mean .5. V = .5 .5 .75 .25 | 1 -> A = 0 .25 -.5 .75: m = 3.
    policy = FakePolicy({2: [1, 0, 1, 0], 4: [1, 1, 1, 0], 6: [1, 0, 0, 0, 1, 1, 0, 1]})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, n_reentry=3)
    (reentry,) = result.reentries
    assert [value.mean for value in reentry.values] == [0.5, 0.5, 0.75, 0.25, 1.0]
    assert [value.count for value in reentry.values] == [2, 4, 4, 4, 0]
    assert (reentry.critical.index, reentry.critical.advantage) == (3, 0.75)
    assert 0.0 < reentry.critical.confidence < 1.0
    (group,) = reentry.groups
    assert (group.state, group.prefix, group.critical) == (3, tuple(range(6)), True)
    assert [rollout.reward for rollout in reentry.rollouts] == [1, 1, 0]  # fresh ones, not the Monte Carlo samples


def test_cost_is_counted_by_phase_and_free_states_are_not_sampled():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4, n_reentry=3)
    value, reentry = result.usage["value"], result.usage["reentry"]
    assert (value.requests, value.tokens) == (12, 24)  # states 1 to 3 of 0 to 4, two tokens each
    assert (reentry.requests, reentry.tokens) == (3, 6)
    assert (value.context_tokens, value.cached_tokens) == (4 * (2 + 4 + 6), 4 * (1 + 2 + 3))
    assert {len(prefix) for prefix, _, _ in policy.requests} == {2, 4, 6}  # A = -.5 1 0 0: reset to s_1, of 2 tokens


def test_max_tokens_leaves_room_for_the_prefix():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    run(policy, [root(), root(reward=0.0)])
    assert all(max_tokens == LENGTH - len(prefix) for prefix, max_tokens, _ in policy.requests)


def test_a_bound_on_continuations_bounds_the_search_and_not_the_rollouts():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    result = run(policy, [root(), root(reward=0.0)], n_mc=2, n_reentry=3, max_continuation_tokens=5)
    searched, reentered = policy.requests[:6], policy.requests[6:]
    assert [most for _, most, _ in searched] == [5] * 6 and result.usage["value"].requests == 6
    assert [most for _, most, _ in reentered] == [LENGTH - 2] * 3


@pytest.mark.parametrize("learn_from", ["reuse", "all"])
def test_continuations_that_came_to_the_bound_are_replaced_by_whole_ones(learn_from):
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})  # two tokens each
    settings = {"n_mc": 2, "n_reentry": 3, "learn_from": learn_from, "partial_rewards": True}
    cut = run(policy, [root(), root(reward=0.0)], max_continuation_tokens=2, **settings)
    # Values come from what was cut, all the same; three whole rollouts are drawn at s_1.
    (reentry,) = cut.reentries
    assert reentry.critical.index == 1 and cut.usage["value"].requests == 6 and cut.usage["reentry"].requests == 3
    (group,) = reentry.groups
    assert group.state == 1 and len(group.rollouts) == 3 and not any(rollout.cut for rollout in group.rollouts)
    whole = run(policy, [root(), root(reward=0.0)], max_continuation_tokens=3, **settings)
    assert whole.usage["reentry"].requests == 0


def test_a_cut_continuation_gives_no_value_unless_partial_text_is_scored():
    # A constant value of 1/2, and rewards of 0 for what was cut: behind the third step the rest fits under the bound,
    # and the value would seem to jump there.
    policy = FakePolicy({2: [0], 4: [0], 6: [0.5]})
    roots = [root(reward=0.5), root(reward=0.5, first=50)]
    (reentry,) = run(policy, roots, n_mc=2, max_continuation_tokens=2).reentries
    assert [value.known for value in reentry.values] == [True, False, False, False, True]
    assert reentry.critical is None


def test_a_state_with_a_censored_continuation_has_no_value():
    # V = 1/2 everywhere; long answers are the right ones, and those of s_2 are given up.
    class Stalls(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            found = await super().sample(prefix, max_tokens, seed, lane)
            if len(prefix) == 4 and found.source % 2:
                raise StalledError("given up")
            return found

    policy = Stalls({2: [0, 1, 0, 1], 4: [0], 6: [0, 1, 0, 1]})
    (reentry,) = run(policy, [root(reward=0.5), root(reward=0.5, first=50)], n_mc=4).reentries
    assert [value.mean if value.known else None for value in reentry.values] == [0.5, 0.5, None, 0.5, 0.5]
    assert reentry.critical is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_root_without_a_finite_reward_is_no_anchor_and_no_value(bad):
    policy = FakePolicy({2: [0], 4: [1], 6: [1]})
    roots = [root(reward=bad), root(reward=1.0, first=50), root(reward=0.0, first=100)]
    (reentry,) = run(policy, roots, n_mc=2).reentries
    assert reentry.anchor == 1 and reentry.values[0].mean == 0.5 and reentry.values[0].count == 2


@pytest.mark.parametrize(("rule", "index"), [("argmax", 1), ("abs", 2), ("argmin", 2)])
def test_rules_reach_the_engine(rule, index):
    policy = FakePolicy({2: [0.5], 4: [1.0], 6: [0.0]})  # V = .5 .5 1 0 | .5 -> A = 0 .5 -1 .5
    (reentry,) = run(policy, [root(reward=0.5), root(reward=0.5, first=50)], rule=rule).reentries
    assert reentry.critical.index == index


def test_reset_after_keeps_the_critical_step():
    policy = FakePolicy({2: [0.5], 4: [1.0], 6: [0.0]})
    (reentry,) = run(policy, [root(reward=0.5), root(reward=0.5, first=50)], reset="after").reentries
    assert reentry.critical.index == 1
    assert [(group.state, group.prefix) for group in reentry.groups] == [(2, (0, 1, 2, 3))]


def test_reset_after_never_resets_to_the_end_of_the_response():
    policy = FakePolicy({2: [0.0], 4: [0.0], 6: [0.0]})  # the last step gains most, but nothing comes after it
    (reentry,) = run(policy, [root(reward=1.0), root(reward=0.0)], reset="after").reentries
    assert reentry.critical is None


def test_no_critical_step_costs_no_reentry():
    policy = FakePolicy({2: [0], 4: [0], 6: [0]})
    result = run(policy, [root(reward=0.0), root(reward=0.0, first=50)])
    assert result.reentries[0].critical is None
    assert result.usage["reentry"].requests == 0


def test_an_unsure_choice_costs_no_reentry():
    rewards = {2: [1, 0], 4: [0, 1], 6: [1, 0]}
    roots = [root(reward=1.0), root(reward=0.0)]
    assert run(FakePolicy(rewards), roots, n_mc=2).usage["reentry"].requests == 4
    assert run(FakePolicy(rewards), roots, n_mc=2, min_confidence=0.99).usage["reentry"].requests == 0


# The ablations.


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
def test_the_random_rule_costs_the_search_and_ignores_it(search):
    # Step 3 alone gains; a random step is not always that one.
    chosen = set()
    for seed in range(20):
        policy = FakePolicy({0: [0], 2: [0], 4: [0], 6: [0]})
        result = run(policy, [root(), root(reward=0.0)], rule="random", search=search, n_mc=2, seed=str(seed))
        assert result.usage["value"].requests > 0 and result.usage["reentry"].requests == 4
        chosen.add(result.reentries[0].critical.index)
    assert len(chosen) > 1


def test_the_random_search_values_nothing():
    policy = FakePolicy({n: [1] for n in range(LENGTH)})
    result = run(policy, [root()], search="random", n_reentry=2)
    assert result.usage["value"].requests == 0
    assert len(result.reentries[0].rollouts) == 2


def test_no_search_asks_for_nothing():
    policy = FakePolicy({})
    result = run(policy, [root(), root(reward=0.0)], search="none")
    assert result.reentries[0].critical is None and result.reentries[0].groups == () and not policy.requests


@every_way
@pytest.mark.parametrize("settings", [{}, {"value_model": "curve"}, {"rule": "random"}], ids=str)
def test_a_choice_inside_the_response_is_reentered_whatever_is_learnt_from(search, learn_from, settings):
    values = (0.3, 0.2, 0.7, 0.1, 0.6, 0.4)
    roots = [root(tokens=12), root(reward=0.0, first=50)]
    if learn_from == "best":  # a single rollout, which is learnt from in its anchor's place
        settings = {**settings, "rows": "replaced", "n_reentry": 1}
    for seed in range(6):
        policy = CoinPolicy(lambda n: values[n // 2])
        result = run(policy, roots, search=search, learn_from=learn_from, n_mc=4, seed=str(seed), **settings)
        (reentry,) = result.reentries
        if reentry.critical and reentry.critical.index > 0:
            assert [group.state for group in reentry.groups if group.critical] == [reentry.critical.index]


# Failures.


def test_failed_requests_cost_their_estimate_only():
    # The second request, one of state 1's four, is lost. V = .5 1 1 0 | 1 -> A = .5 0 -1 1.
    policy = FakePolicy({2: [1], 4: [1], 6: [0]}, fail_sampling={2})
    result = run(policy, [root(reward=1.0), root(reward=0.0)], n_mc=4)
    (reentry,) = result.reentries
    assert reentry.values[1].count == 3 and reentry.values[2].count == 4
    assert result.usage["value"].sampling_failures == 1
    assert reentry.critical.index == 3


def test_a_state_without_a_single_estimate_is_unknown_and_its_steps_are_not_chosen():
    policy = FakePolicy({2: [0], 4: [0], 6: [0.9]}, fail_sampling={5, 6, 7, 8})  # all of state 2
    (reentry,) = run(policy, [root(reward=1.0), root(reward=1.0, first=50)], n_mc=4).reentries
    assert not reentry.values[2].known
    assert reentry.critical.index == 3  # A_1 and A_2 are unknown, A_0 = -1, A_3 = .1


def test_a_reward_that_raises_is_counted_and_survived():
    policy = FakePolicy({2: [0], 4: [1], 6: [1]}, fail_scoring={12})
    result = run(policy, [root(), root(reward=0.0)], n_mc=4)
    assert result.usage["value"].scoring_failures == 1
    assert [value.count for value in result.reentries[0].values] == [2, 4, 4, 3, 0]


@every_way
@pytest.mark.parametrize("failing", ["fail_sampling", "fail_scoring"])
def test_everything_failing_gives_no_rollouts_and_no_exception(search, learn_from, failing):
    policy = FakePolicy({}, **{failing: range(1, 1000)})
    result = run(policy, [root(), root(reward=0.0)], search=search, learn_from=learn_from)
    assert not result.reentries[0].rollouts and balance(result) == 0
    assert sum(usage.requests for usage in result.usage.values()) == len(policy.requests)


# Degenerate groups and responses.


@every_way
def test_an_empty_response_has_no_steps(search, learn_from):
    result = run(FakePolicy({}), [root(tokens=0, reward=0.0), root()], search=search, learn_from=learn_from)
    (reentry,) = result.reentries
    assert reentry.ends == () and reentry.critical is None and reentry.groups == ()


@every_way
def test_one_step_needs_no_sampling_to_be_valued(search, learn_from):
    policy = FakePolicy({0: [1]})
    roots = [root(tokens=2, reward=1.0), root(reward=0.0)]
    result = run(policy, roots, search=search, learn_from=learn_from, n_reentry=2, stop_confidence=1.0)
    (reentry,) = result.reentries
    assert result.usage["value"].requests == (4 if search == "highest" else 0)  # the prompt is the start of a step
    if search == "highest":
        assert reentry.critical.index == 0
    # More roots teach as much; no data set named a step; no tool was called.
    elif search not in ("informative", "given", "tool_entropy", "none"):
        assert reentry.critical.index == 0
        assert [group.prefix for group in reentry.groups] == ([()] if learn_from == "fresh" else [])


@pytest.mark.parametrize("search", ["uniform", "bisection"])
def test_a_group_of_one_is_not_taken_for_the_value_of_its_prompt(search):
    # V = .5 .5 1 0 | 0. The root's own outcome instead of V(s_0) would make the first step gain .5.
    policy = FakePolicy({0: [0, 1], 2: [0, 1], 4: [1], 6: [0]})
    result = run(policy, [root(reward=0.0)], search=search, n_mc=2)
    (reentry,) = result.reentries
    assert reentry.values[0].mean == 0.5 and reentry.values[0].count == 2
    if search == "uniform":
        assert reentry.critical.index == 1 and result.usage["value"].requests == 4 * 2
    # Another root tells of s_0 for nothing.
    others = FakePolicy({0: [0, 1], 2: [0, 1], 4: [1], 6: [0]})
    result = run(others, [root(reward=0.0), root(reward=1.0, first=50)], search=search, n_mc=2)
    assert result.reentries[0].values[0].count == 2
    assert () not in [prefix for prefix, _, _ in others.requests[: result.usage["value"].requests]]


@every_way
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_group_of_one(search, learn_from, reward):
    policy = CoinPolicy(lambda n: 0.5)
    result = run(policy, [root(tokens=10, reward=reward)], search=search, learn_from=learn_from)
    assert len(result.reentries) == 1 and balance(result) == len(policy.requests)


@every_way
def test_a_response_that_fills_the_budget_leaves_room_for_one_token_at_least(search, learn_from):
    policy = CoinPolicy(lambda n: 0.5)  # it refuses a request without room
    full = [root(tokens=LENGTH, reward=1.0), root(tokens=LENGTH, reward=0.0, first=50)]
    for splitter in (pairs_of_tokens, lambda ids, log_probs=None: list(range(1, len(ids) + 1))):
        for seed in "ab":
            run(policy, full, splitter=splitter, search=search, learn_from=learn_from, seed=seed)
    assert len(policy.requests) > 0 or search in ("informative", "given", "random", "tool_entropy", "none")


def test_anchors_beyond_the_group_are_ignored():
    policy = FakePolicy({2: [0.5], 4: [0.5], 6: [0.5]})
    assert len(run(policy, [root(), root()], anchors=8).reentries) == 1


def test_a_response_without_log_probs_can_be_searched():
    for search in SEARCHES:
        plain = Trajectory(tuple(range(8)), None, 1.0)
        assert len(run(CoinPolicy(lambda n: 0.5), [plain, root(reward=0.0)], search=search).reentries) == 1
