"""What a search may cost and must not choose where responses are long, prompts are many and rewards are bad."""

import asyncio
import math

import pytest

from tests.core.fakes import CoinPolicy, FakePolicy, balance, every_way, pairs_of_tokens, root, run
from verl_gpo.config import GPOConfig
from verl_gpo.core.budget import Account
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.types import Continuation, ScoredContinuation, ScoringError, Trajectory

#: Searches that choose by the belief, besides ``value_model=curve``.
BELIEF = [{"search": "adaptive"}, {"search": "propose"}, {"search": "uniform", "value_model": "curve"}]


class ToTheEnd(FakePolicy):
    """Writes until ``length`` tokens are there; right after ``jump`` of them, and wrong before."""

    def __init__(self, length, jump):
        super().__init__({})
        self.length, self.jump = length, jump

    async def sample(self, prefix, max_tokens, seed, lane=0):
        drawn = await super().sample(prefix, max_tokens, seed, lane)
        return Continuation((7,) * min(self.length - len(prefix), max_tokens), source=drawn.source)

    async def score(self, prefix, continuation):
        return ScoredContinuation(continuation, float(len(prefix) >= self.jump))


# A response that repeats itself up to the limit: 4,000 tokens in 400 steps, in a group of seven short ones.

LOOP = Trajectory(tuple(range(4000)), None, 1.0)
GROUP = [LOOP, *(Trajectory(tuple(range(n, n + 100)), None, 0.0) for n in range(10_000, 10_700, 100))]


def tens(token_ids, log_probs=None):
    return list(range(10, len(token_ids) + 1, 10))


def searched(ceiling):
    policy = ToTheEnd(4000, jump=2000)
    engine = ReentryProcedure(GPOConfig(preset="paper", cost_ceiling=ceiling), tens, 4001)
    return asyncio.run(engine.run(GROUP, policy, policy))


def test_a_looping_response_costs_no_more_than_the_ceiling():
    # 16 x (4,000 + 7 x 100) = 75,200 tokens; all 399 states with 4 continuations each would be 3.2 million.
    result = searched(GPOConfig().cost_ceiling)
    (reentry,) = result.reentries
    spent = result.usage["value"].tokens + result.usage["reentry"].tokens
    assert 0.5 * 75_200 < spent <= 75_200 and result.thinned
    # 16,000 of it are kept for four re-entry rollouts, and 59,200 are left: 7 states of 4 x 2,000 tokens, so 8 steps.
    assert len(reentry.ends) == 8 and len(reentry.rollouts) == 4
    # V = 0 before 2,000 tokens and 1 from there on: the merged step that gains ends at 2,000.
    assert reentry.ends[reentry.critical.index] == 2000


def test_without_a_ceiling_the_same_response_costs_millions():
    result = searched(0.0)
    # 4 x (10 + 20 + ... + 3,990) tokens of continuations.
    assert result.usage["value"].tokens == 4 * 10 * 399 * 400 // 2 == 3_192_000 and not result.thinned


# 128 prompts that overlap. Eight tokens in four steps each: three states of 6, 4 and 2 tokens, four times: 48, and then
# four re-entry rollouts.


@pytest.mark.parametrize("limit", [500, 2000])
def test_128_overlapping_prompts_do_not_overspend_the_steps_budget(limit):
    budget, policy = Account(limit), ToTheEnd(8, jump=4)

    async def go():
        engine = ReentryProcedure(GPOConfig(), pairs_of_tokens, 12)
        roots = [root(), root(reward=0.0, first=50)]
        return await asyncio.gather(*(engine.run(roots, policy, policy, str(n), budget) for n in range(128)))

    results = asyncio.run(go())
    spent = sum(usage.tokens for result in results for usage in result.usage.values())
    assert budget.spent == spent and budget.reserved == 0
    assert 0.8 * limit < spent <= limit < 128 * 48  # it is used, and it would not have been enough
    drawn = [sum(usage.requests for usage in result.usage.values()) for result in results]
    assert drawn.count(0) > 32 and max(drawn) >= 12  # some are searched as ever, for many nothing is left


@pytest.mark.parametrize("share", [0.25, 0.95])
def test_with_part_of_a_prompts_budget_the_reentry_rollouts_are_drawn(share):
    # 16 steps of two tokens: 15 states of 16 tokens on average, 4 times; and 4 whole responses of 32 tokens.
    budget = int(share * (15 * 4 * 16 + 4 * 32))
    policy = ToTheEnd(32, jump=16)
    roots = [root(tokens=32), root(tokens=32, reward=0.0, first=50)]
    engine = ReentryProcedure(GPOConfig(prompt_token_budget=budget), pairs_of_tokens, 33)
    result = asyncio.run(engine.run(roots, policy, policy))
    assert len(result.reentries[0].rollouts) == 4
    assert sum(usage.tokens for usage in result.usage.values()) <= budget


# Values that never move.


def test_a_bound_on_continuations_makes_no_critical_step_of_a_constant_value():
    # Right with 1/2 from everywhere, if it may write to the end. Cut text gets no reward, so near the end, where the
    # rest fits under the bound of three tokens, the mean would seem to jump.
    class Cut(ToTheEnd):
        async def score(self, prefix, continuation):
            whole = len(prefix) + len(continuation.token_ids) == self.length
            return ScoredContinuation(continuation, 0.5 if whole else 0.0)

    def chosen(**settings):
        policy = Cut(12, jump=0)
        roots = [root(tokens=12, reward=0.5), root(tokens=12, reward=0.5, first=50)]
        engine = ReentryProcedure(GPOConfig(max_continuation_tokens=3, **settings), pairs_of_tokens, 13)
        return asyncio.run(engine.run(roots, policy, policy)).reentries[0]

    reentry = chosen()
    assert [value.known for value in reentry.values] == [True, False, False, False, False, True, True]
    assert reentry.critical is None and reentry.groups == ()
    # A reward function that is said to score partial text is believed, and this one does not.
    assert chosen(partial_rewards=True).critical.index == 4


# Rewards that are no number, or far away.


class NoNumber(CoinPolicy):
    """Every third reward is NaN."""

    def __init__(self):
        super().__init__(lambda n: 0.5)
        self.scored = 0

    async def score(self, prefix, continuation):
        self.scored += 1
        scored = await super().score(prefix, continuation)
        return ScoredContinuation(continuation, math.nan) if self.scored % 3 == 0 else scored


@pytest.mark.parametrize("learn_from", ["fresh", "all"])
@pytest.mark.parametrize("search", SEARCHES)
def test_rewards_that_are_no_number_are_counted_and_never_stored(search, learn_from):
    policy = NoNumber()
    roots = [root(tokens=12), root(tokens=12, reward=0.0, first=50), root(tokens=12, reward=math.nan, first=90)]
    result = run(policy, roots, search=search, learn_from=learn_from, given=(2,), n_reentry=6, anchors=0)
    assert [reentry.anchor for reentry in result.reentries] == [0, 1]  # what is no number is no anchor
    assert sum(usage.scoring_failures for usage in result.usage.values()) == policy.scored // 3
    assert all(math.isfinite(rollout.reward) for reentry in result.reentries for rollout in reentry.rollouts)
    assert all(not value.known or math.isfinite(value.mean) for r in result.reentries for value in r.values)
    if search in ("random", "given") and learn_from == "fresh":  # six rollouts of each anchor, of which two are lost
        assert policy.scored == 12 and sum(len(reentry.rollouts) for reentry in result.reentries) == 8


@pytest.mark.parametrize("settings", BELIEF, ids=str)
@pytest.mark.parametrize("seed", "abc")
def test_an_outlier_of_minus_ten_moves_no_choice_of_the_belief(settings, seed):
    def chosen(worst):
        policy = CoinPolicy(lambda n: 0.2 if n < 6 else 0.9, low=worst)
        roots = [root(tokens=12), *(root(tokens=12, reward=worst, first=50 * n) for n in (1, 2, 3))]
        (reentry,) = run(policy, roots, seed=seed, **settings).reentries
        return reentry.critical and (reentry.critical.index, reentry.critical.confidence), sorted(policy.requests)

    assert chosen(0.0) == chosen(-10.0)


def test_equal_steps_are_chosen_at_random_and_not_always_the_first():
    # V = 0 .5 .5 1 | 1 with a root group of 0: steps 0 and 2 gain .5 each.
    def chosen(seed):
        policy = FakePolicy({0: [0.0], 2: [0.5], 4: [0.5], 6: [1.0]})
        roots = [root(reward=1.0), root(reward=-1.0, first=50)]
        return run(policy, roots, seed=str(seed)).reentries[0].critical.index

    picks = [chosen(seed) for seed in range(60)]
    assert set(picks) == {0, 2} and 15 < picks.count(0) < 45
    assert picks == [chosen(seed) for seed in range(60)]


def test_a_scorer_that_raises_is_counted_like_one_that_gives_no_number():
    class Broken(NoNumber):
        async def score(self, prefix, continuation):
            scored = await super().score(prefix, continuation)
            if math.isnan(scored.reward):
                raise ScoringError("broken")
            return scored

    def usage(policy):
        result = run(policy, [root(tokens=12), root(tokens=12, reward=0.0, first=50)])
        return [(u.requests, u.scoring_failures, u.tokens) for u in result.usage.values()]

    assert usage(NoNumber()) == usage(Broken())


# Inputs at the edges, with every search and everything that may be learnt from.

EMPTY = Trajectory((), (), 0.0)
ODD_GROUPS = {
    "one root": [root(tokens=12)],
    "one empty root": [EMPTY],
    "all empty": [EMPTY, EMPTY, EMPTY],
    "an empty root first": [EMPTY, root(tokens=12)],
    "an empty root last": [root(tokens=12), EMPTY],
    "roots of one token": [root(tokens=1), root(tokens=1, reward=0.0, first=50)],
    "no number at all": [root(tokens=12, reward=None), root(tokens=12, reward="right", first=50)],
    "minus infinity": [root(tokens=12), root(tokens=12, reward=-math.inf, first=50)],
    "truth values": [root(tokens=12, reward=True), root(tokens=12, reward=False, first=50)],
    "identical roots": [root(tokens=12)] * 4,
}


@every_way
@pytest.mark.parametrize("roots", ODD_GROUPS.values(), ids=ODD_GROUPS)
def test_odd_groups_keep_the_books(roots, search, learn_from):
    policy = CoinPolicy(lambda n: 0.5)
    result = run(policy, roots, search=search, learn_from=learn_from, given=(0,), n_reentry=2, anchors=0)
    assert balance(result) == len(policy.requests)
    for reentry in result.reentries:
        assert math.isfinite(roots[reentry.anchor].reward)
        assert all(math.isfinite(rollout.reward) for rollout in reentry.rollouts)
        assert all(len(group.prefix) < 12 for group in reentry.groups)


@every_way
@pytest.mark.parametrize("limit", ["prompt", "step"])
def test_a_budget_of_one_token_is_kept(limit, search, learn_from):
    policy, account = CoinPolicy(lambda n: 0.5), Account(1 if limit == "step" else 0)
    roots = [root(tokens=12), root(tokens=12, reward=0.0, first=50)]
    settings = {"search": search, "learn_from": learn_from, "n_reentry": 2}
    result = run(
        policy, roots, step_account=account, given=(0,), prompt_token_budget=int(limit == "prompt"), **settings
    )
    assert not policy.requests and account.reserved == 0 and sum(u.tokens for u in result.usage.values()) == 0


def test_two_training_steps_in_flight_have_a_budget_each():
    # Both overlap; each has enough for one of its two prompts, whatever the other step does.
    async def go():
        engine = ReentryProcedure(GPOConfig(search="random"), pairs_of_tokens, 12)
        policy = FakePolicy({n: [1] for n in range(12)})
        roots, steps = [root(), root(reward=0.0, first=50)], [Account(40), Account(40)]
        runs = [engine.run(roots, policy, policy, f"{n}/{prompt}", steps[n]) for n in (0, 1) for prompt in range(8)]
        await asyncio.gather(*runs)
        return steps

    one, other = asyncio.run(go())
    assert 0 < one.spent <= 40 and 0 < other.spent <= 40 and one.reserved == other.reserved == 0


def test_the_means_of_the_paper_are_those_of_the_reward_as_it_is():
    # A penalty is part of the expected reward. V(s_0) = (1 + 1 - 10) / 3, and every inner state has 0.5.
    def values(**settings):
        roots = [root(), root(first=50), root(reward=-10.0, first=90)]
        return run(FakePolicy({n: [0.5] for n in range(12)}), roots, **settings).reentries[0]

    paper = values()
    assert paper.values[0].mean == pytest.approx(-8 / 3) and paper.critical.index == 0
    # The belief sees a failure: 2 of 3 succeeded.
    assert paper.values[0].share == pytest.approx(2 / 3)
    believed = values(value_model="curve", min_advantage=0.1)
    assert believed.critical is None or believed.critical.advantage <= 1.0
