"""What a prompt and a training step may spend, and what is given up first."""

import math

import pytest

from tests.core.fakes import FakePolicy, root, run
from verl_gpo.core.budget import TokenBudget

REWARDS = {0: [1], 2: [0, 1], 4: [0, 1], 6: [0, 1]}
ROOTS = [root(), root(reward=0.0, first=50)]


def test_the_books_of_a_budget_and_of_the_one_around_it():
    step = TokenBudget(100)
    first, second, free = TokenBudget(30, step), TokenBudget(80, step), TokenBudget(0, step)
    assert (first.left, second.left, free.left) == (30, 80, 100)
    first.spend(20)
    second.spend(50)
    # 100 - 70 are left of the step: all of the 30 that second may spend of its own, and all that free may.
    assert (step.spent, step.left, first.left, second.left, free.left) == (70, 30, 10, 30, 30)
    first.spend(40)
    assert (first.left, step.left, second.left) == (0, 0, 0)  # never below 0
    assert TokenBudget().left == math.inf


@pytest.mark.parametrize(
    ("spent", "effort"), [(0, "search"), (79, "search"), (80, "propose"), (99, "propose"), (100, "none"), (200, "none")]
)
def test_effort_degrades_in_this_order(spent, effort):
    budget = TokenBudget(100)
    budget.spend(spent)
    assert budget.effort == effort


def test_without_a_limit_the_effort_never_degrades():
    budget = TokenBudget()
    budget.spend(10**9)
    assert budget.effort == "search"


def step_budget(limit, spent):
    budget = TokenBudget(limit)
    budget.spend(spent)
    return budget


def test_a_step_within_its_budget_searches_and_counts_every_token():
    budget = step_budget(1000, 0)
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, n_mc=4, n_reentry=3, step_budget=budget)
    assert (result.effort, result.skipped) == ("search", None)
    assert budget.spent == result.usage["value"].tokens + result.usage["reenter"].tokens == 2 * (12 + 3)


@pytest.mark.parametrize("learn_from", ["fresh", "reuse", "split", "all"])
@pytest.mark.parametrize("search", ["uniform", "bisection", "adaptive", "propose"])
def test_a_step_near_its_budget_reenters_without_a_search(search, learn_from):
    budget = step_budget(1000, 800)
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, search=search, learn_from=learn_from, n_reentry=3, step_budget=budget)
    (reentry,) = result.reentries
    assert (result.effort, result.usage["value"].requests) == ("propose", 0)
    # At s_0 only fresh draws: its continuations are the root group.
    drawn = 3 if learn_from == "fresh" or reentry.critical.index > 0 else 0
    assert len(reentry.rollouts) == drawn == result.usage["reenter"].requests
    assert budget.spent == 800 + 2 * drawn


def test_no_search_stays_no_search_near_the_budget():
    # A baseline must not start to re-enter because tokens run out.
    result = run(FakePolicy(REWARDS), ROOTS, search="none", step_budget=step_budget(1000, 800))
    assert all(reentry.critical is None for reentry in result.reentries)
    assert result.usage["reenter"].requests == 0


def test_a_random_step_stays_random_near_the_budget():
    chosen = {
        run(FakePolicy(REWARDS), ROOTS, search="random", seed=str(n), step_budget=step_budget(1000, 800))
        .reentries[0]
        .critical.index
        for n in range(40)
    }
    assert chosen == {0, 1, 2, 3}


def test_a_step_over_its_budget_leaves_the_prompt_alone():
    budget = step_budget(1000, 1000)
    policy = FakePolicy(REWARDS)
    result = run(policy, ROOTS, step_budget=budget)
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


def test_what_the_prompts_budget_leaves_of_a_uniform_search_by_hand():
    # From s_1 6 tokens are expected: two fit into 15, and cost 4 when drawn. s_1 was asked; of the 11 left two at s_2
    # (4 expected) cost 4 again; of 7 three at s_3 (2 expected) cost 6. The last token is too little for anything.
    policy = FakePolicy({0: [0], 2: [0], 4: [0], 6: [0]})
    result = run(policy, [root(reward=0.0), root(reward=0.0, first=50)], n_mc=4, prompt_token_budget=15)
    assert policy.asked() == {2: 2, 4: 2, 6: 3}
    assert result.usage["value"].tokens == 14


def test_the_prompts_budget_holds_for_search_and_reentry_together():
    # "Tokens that search and re-entry of one prompt may cost": 9 tokens are four continuations of 2, not 4 and 4 more.
    result = run(FakePolicy(REWARDS), ROOTS, search="propose", prompt_token_budget=9, n_reentry=4)
    assert result.usage["value"].tokens + result.usage["reenter"].tokens <= 9


def test_what_other_prompts_spend_stops_a_search_that_has_begun():
    class Elsewhere(FakePolicy):
        async def sample(self, prefix, max_tokens, seed):
            budget.spend(30)  # other prompts of the step, meanwhile
            return await super().sample(prefix, max_tokens, seed)

    budget = step_budget(100, 0)
    policy = Elsewhere(REWARDS)
    run(policy, ROOTS, search="bisection", n_mc=4, n_reentry=1, step_budget=budget)
    assert policy.asked()[4] >= 4 and len(policy.requests) <= 4 + 1  # one round, not two, and the re-entry
