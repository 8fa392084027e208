"""What a prompt and a training step may spend, and what is given up first."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.fakes import LENGTH, FakePolicy, pairs_of_tokens, root, run
from verl_gpo.config import GPOConfig
from verl_gpo.core.budget import Account, StepAccounts
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.types import Trajectory

REWARDS = {0: [1], 2: [0, 1], 4: [0, 1], 6: [0, 1]}
ROOTS = [root(), root(reward=0.0, first=50)]


def test_an_account_by_hand():
    step = Account(1000)
    one, other = Account(400, step), Account(0, step)
    one.reserve(300)
    other.reserve(500)
    assert (one.left, other.left, step.left) == (100, 200, 200)
    one.settle(300, 350)  # longer than expected
    assert (one.left, other.left, step.left, step.spent) == (50, 150, 150, 350)
    other.settle(500, 0)
    assert (other.left, step.left) == (650, 650)
    one.reserve(60)
    assert one.left == 0 and Account().left == math.inf


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=20))
def test_what_is_settled_is_no_longer_reserved(requests):
    account = Account(10_000)
    for reserved, _ in requests:
        account.reserve(reserved)
    for reserved, spent in requests:
        account.settle(reserved, spent)
    assert account.reserved == 0 and account.spent == sum(spent for _, spent in requests)


@pytest.mark.parametrize(
    ("spent", "effort"), [(0, "search"), (79, "search"), (80, "propose"), (99, "propose"), (100, "none"), (200, "none")]
)
def test_effort_degrades_in_this_order(spent, effort):
    budget = Account(100)
    budget.settle(0, spent)
    assert budget.effort == effort


def test_without_a_limit_the_effort_never_degrades():
    budget = Account()
    budget.settle(0, 10**9)
    assert budget.effort == "search"


def spent_account(limit, spent):
    budget = Account(limit)
    budget.settle(0, spent)
    return budget


def test_a_step_within_its_budget_searches_and_counts_every_token():
    budget = spent_account(1000, 0)
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, n_mc=4, n_reentry=3, step_account=budget)
    assert (result.effort, result.skipped) == ("search", None)
    assert budget.spent == result.usage["value"].tokens + result.usage["reentry"].tokens == 2 * (12 + 3)


@pytest.mark.parametrize("learn_from", ["fresh", "reuse", "split", "all"])
@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
def test_a_step_near_its_budget_reenters_without_a_search(search, learn_from):
    budget = spent_account(1000, 800)
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, search=search, learn_from=learn_from, n_reentry=3, step_account=budget)
    (reentry,) = result.reentries
    assert (result.effort, result.usage["value"].requests) == ("propose", 0)
    # At s_0 only fresh draws: its continuations are the root group.
    drawn = 3 if learn_from == "fresh" or reentry.critical.index > 0 else 0
    assert len(reentry.rollouts) == drawn == result.usage["reentry"].requests
    assert budget.spent == 800 + 2 * drawn


def test_no_search_stays_no_search_near_the_budget():
    # A baseline must not start to re-enter because tokens run out.
    result = run(FakePolicy(REWARDS), ROOTS, search="none", step_account=spent_account(1000, 800))
    assert all(reentry.critical is None for reentry in result.reentries)
    assert result.usage["reentry"].requests == 0


def test_a_random_step_stays_random_near_the_budget():
    chosen = {
        run(FakePolicy(REWARDS), ROOTS, search="random", seed=str(n), step_account=spent_account(1000, 800))
        .reentries[0]
        .critical.index
        for n in range(40)
    }
    assert chosen == {0, 1, 2, 3}


def test_a_step_over_its_budget_leaves_the_prompt_alone():
    budget = spent_account(1000, 1000)
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, step_account=budget)
    assert (result.effort, result.skipped, result.reentries) == ("none", "step_token_budget", [])
    assert not policy.requests and budget.spent == 1000


@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
def test_the_prompts_budget_stops_the_search(search):
    # The group's mean length is 8 tokens: of s_1 a continuation of 6 is expected, of s_2 4, of s_3 2. They turn out 2.
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, search=search, prompt_token_budget=17, n_mc=4)
    assert result.usage["value"].tokens <= 17
    unlimited = run(FakePolicy(REWARDS), ROOTS, search=search, n_mc=4)
    assert result.usage["value"].requests <= unlimited.usage["value"].requests


def test_where_values_of_all_states_cost_too_much_neighbouring_steps_are_merged():
    # Four steps of two tokens. The re-entry group may take 2 x 8 = 16 tokens, half of 30 is kept for it: 15 are left.
    # A state costs 2 continuations of 4 tokens on average: three states 24, two 16, one 8. So there are two steps.
    policy = FakePolicy({0: [0], 4: [1]})
    result = run(policy, [root(reward=0.0), root(reward=0.0, first=50)], n_mc=2, n_reentry=2, prompt_token_budget=30)
    (reentry,) = result.reentries
    assert result.thinned and reentry.ends == (4, 8)
    # V = 0 1 0: the first half gains, and two rollouts are drawn before it.
    assert reentry.critical.index == 0 and policy.asked() == {4: 2, 0: 2}
    assert not run(FakePolicy(REWARDS), ROOTS, n_mc=2, n_reentry=2, prompt_token_budget=80).thinned


def test_the_ceiling_is_a_multiple_of_what_the_roots_cost():
    # The same with a ceiling: two roots of 8 tokens; 15/8 of 16 are 30.
    policy = FakePolicy({0: [0], 4: [1]})
    roots = [root(reward=0.0), root(reward=0.0, first=50)]
    result = run(policy, roots, n_mc=2, n_reentry=2, cost_ceiling=30 / 16)
    assert result.thinned and result.reentries[0].ends == (4, 8)
    assert not run(FakePolicy(REWARDS), roots, n_mc=2, n_reentry=2, cost_ceiling=0.0).thinned


@pytest.mark.parametrize("share", [0.25, 0.5, 0.95])
def test_a_budget_never_takes_the_reentry_rollouts(share):
    # 16 steps of two tokens, 32 in all: 15 states, 4 continuations of 16 tokens on average, and 4 whole responses.
    need = 15 * 4 * 16 + 4 * 32
    policy = FakePolicy({n: [n >= 20] for n in range(0, 32, 2)})
    tokens = 32
    roots = [Trajectory(tuple(range(tokens)), None, 1.0), Trajectory(tuple(range(50, 50 + tokens)), None, 0.0)]
    engine = ReentryProcedure(GPOConfig(prompt_token_budget=int(share * need)), pairs_of_tokens, tokens + 2)
    result = asyncio.run(engine.run(roots, policy, policy))
    assert result.thinned and len(result.reentries[0].rollouts) == 4
    # The value jumps behind 20 tokens: the merged step that holds the jump begins there or up to a step earlier.
    ends = result.reentries[0].ends
    start = (0, *ends)[result.reentries[0].critical.index]
    assert start < 20 <= ends[result.reentries[0].critical.index]


def test_prompts_that_overlap_share_a_steps_budget():
    # 20 prompts at once, each of which wants 12 continuations of 4 tokens and 3 of up to 8: with a budget for a few of
    # them the others find it reserved. Completed tokens alone would bound nothing.
    budget, policy = Account(200), FakePolicy(REWARDS)

    async def go():
        engine = ReentryProcedure(GPOConfig(n_mc=4, n_reentry=3), pairs_of_tokens, LENGTH)
        runs = (engine.run(ROOTS, policy, policy, str(n), budget) for n in range(20))
        return await asyncio.gather(*runs)

    results = asyncio.run(go())
    assert budget.reserved == 0 and budget.spent <= 200
    assert {result.effort for result in results} <= {"search", "propose", "none"}
    assert sum(result.effort == "none" or not result.reentries for result in results) > 5


def test_the_prompts_budget_holds_for_search_and_reentry_together():
    # "Tokens that search and re-entry of one prompt may cost": 9 tokens are four continuations of 2, not 4 and 4 more.
    result = run(FakePolicy(REWARDS), ROOTS, search="propose", prompt_token_budget=9, n_reentry=4)
    assert result.usage["value"].tokens + result.usage["reentry"].tokens <= 9


def test_what_other_prompts_spend_stops_a_search_that_has_begun():
    class Elsewhere(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            budget.settle(0, 30)  # other prompts of the step, meanwhile
            return await super().sample(prefix, max_tokens, seed, lane)

    budget = spent_account(100, 0)
    policy = Elsewhere(REWARDS)
    run(policy, ROOTS, search="bisection", n_mc=4, n_reentry=1, step_account=budget)
    assert policy.asked()[4] >= 4 and len(policy.requests) <= 4 + 1  # one round, not two, and the re-entry


def test_what_is_held_is_held_from_others_and_given_back():
    step = Account(100)
    one, other = Account(0, step), Account(0, step)
    with one.holding(60):
        assert (one.left, other.left, step.reserved) == (40, 40, 60)
    with pytest.raises(RuntimeError), one.holding(60):
        raise RuntimeError
    assert (other.left, step.reserved, step.spent) == (100, 0, 0)


def test_the_reentry_rollouts_of_a_prompt_are_held_from_the_search_of_another():
    # One prompt needs 3 states x 4 x 2 tokens as expected (24 + 16 + 8) and 4 rollouts of 8 tokens: 48 + 32 = 80. The
    # other comes while it waits for its values, and takes all that is left. The first still gets its rollouts.
    budget, held = Account(84), []

    class Meanwhile(FakePolicy):
        async def sample(self, prefix, max_tokens, seed, lane=0):
            if not held:
                held.append(budget.left)
                budget.settle(0, budget.left)  # another prompt of the step spends what it may
            return await super().sample(prefix, max_tokens, seed, lane)

    result = run(Meanwhile(REWARDS), ROOTS, n_mc=4, n_reentry=4, step_account=budget)
    assert held == [4]  # 84 without the 48 that were asked for and the 32 that are kept
    assert len(result.reentries[0].rollouts) == 4 and budget.reserved == 0


def test_each_training_step_has_an_account_of_its_own():
    accounts = StepAccounts(1000, workers=8)
    one, other = accounts.of(3), accounts.of(4)
    one.settle(0, 125)
    assert (one.left, other.left) == (0, 125) and accounts.of(3) is one  # two steps in flight do not reset each other
    assert accounts.of(8) is not one and accounts.of(3) is not one  # forgotten
    assert StepAccounts(3, workers=8).of(0).left == 1 and StepAccounts(0, workers=8).of(0).left == math.inf


def test_a_step_reserves_by_what_requests_of_the_steps_before_have_cost():
    accounts = StepAccounts(800, workers=8)
    one = accounts.of(1)
    assert one.left == 100  # nothing is known yet
    one.reserve(60)
    one.settle(40, 70)
    one.settle(20, 20)
    # 90 tokens where 60 were expected: half as much again, and a margin of 5 %. 40 of the next step take 63 of its 100.
    two = accounts.of(2)
    assert two.factor == pytest.approx(1.575) and two.left == pytest.approx(100 / 1.575)
    two.reserve(40)
    assert two.left == pytest.approx(37 / 1.575) and two.effort == "search"
    two.reserve(12)
    assert two.effort == "propose"  # 81.9 of 100
    with two.holding(10):
        assert two.left == pytest.approx(2.35 / 1.575)
    two.settle(52, 54)
    # Both steps together: 144 tokens where 112 were expected. What was only held was never expected to be drawn.
    assert accounts.of(3).factor == pytest.approx(1.05 * 144 / 112)


def test_short_answers_leave_nothing_to_others_while_long_ones_are_in_flight():
    account = Account(100)
    account.reserve(80)
    account.settle(40, 5)  # the short ones come back first
    assert account.left == 20
    account.settle(40, 75)
    assert account.left == 20 and account.spent == 80  # as expected, of both together
    account.reserve(20)
    account.settle(20, 5)
    assert account.left == 15  # nothing is in flight: what was spent counts
