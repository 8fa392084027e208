"""Requests of a continuation: names, seeds, lengths, failures, and which rollout has a state."""

import asyncio

import pytest
from verl.workers.rollout.replica import TokenOutput

from tests.plugin.agents.world import Counter, Policy, go, loop, roll_out, sampler
from verl_gpo.core.types import SamplingError
from verl_gpo.plugin.agents.output import reentry_of

CALL = '<tool_call>{"name": "count", "arguments": {"by": 1}}</tool_call>'


def once(head):
    return "then end" if "[tool]" in head else CALL


@pytest.fixture(scope="module")
def root():
    return go(roll_out(loop(Policy(answer=once), [Counter()])))


def draw(policy, root, kept, max_tokens=200, seed=5, lane=0, count=1, **settings):
    made = sampler(policy, root, **settings)

    async def all_of_them():
        prefix = tuple(root.response_ids[:kept])
        return await asyncio.gather(*(made.sample(prefix, max_tokens, seed + n, lane) for n in range(count)))

    return go(all_of_them())


def test_requests_of_a_lane_share_an_id_and_carry_the_room_that_is_left(root):
    policy = Policy(answer=once)
    draw(policy, root, 0, max_tokens=300, count=2)
    assert len(policy.requests) == 4 and len({request[0] for request in policy.requests}) == 1
    for _, ids, params in policy.requests:
        assert params["max_tokens"] == len(root.prompt_ids) + 300 - len(ids) and "seed" not in params
    draw(policy, root, 0, lane=1)
    assert len({request[0] for request in policy.requests}) == 2


def test_under_full_determinism_each_request_has_its_own_id_and_seed(root):
    one, other = Policy(answer=once), Policy(answer=once)
    for policy in (one, other):
        draw(policy, root, 0, count=2, deterministic=True)
    assert len({request[0] for request in one.requests}) == len({r[2]["seed"] for r in one.requests}) == 4
    assert sorted(r[2]["seed"] for r in one.requests) == sorted(r[2]["seed"] for r in other.requests)


class Fails(Policy):
    def __init__(self, outcome, at=0):
        super().__init__(answer=once)
        self.outcome, self.at = outcome, at

    async def generate(self, request_id, **request):
        made = await super().generate(request_id, **request)
        if len(self.requests) - 1 < self.at:
            return made
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    "outcome",
    [
        ConnectionError("server gone"),
        TokenOutput(token_ids=[], log_probs=[], stop_reason="completed"),
        TokenOutput(token_ids=[5], log_probs=[-1.0], stop_reason="aborted"),
    ],
)
def test_a_request_that_fails_in_any_turn_fails_the_continuation(root, outcome, at):
    with pytest.raises(SamplingError):
        draw(Fails(outcome, at), root, 0)


def test_a_state_that_no_root_has_fails(root):
    with pytest.raises(SamplingError, match="no root rollout has this state"):
        go(sampler(Policy(answer=once), root).sample((1, 2, 3), 10, 0))
    answered = root.response_mask.index(0)  # the environment's tokens are not continued
    with pytest.raises(SamplingError, match="no root rollout has this state"):
        draw(Policy(answer=once), root, answered + 1)


def test_the_root_that_has_the_state_is_continued(root):
    other = go(roll_out(loop(Policy(answer=lambda head: "no call"), [Counter()])))
    made = sampler(Policy(answer=lambda head: "no call"), root, other)
    got = go(made.sample(tuple(other.response_ids[:3]), 50, 0))
    assert list(got.token_ids) == other.response_ids[3:]


def test_without_log_probs_there_are_none(root):
    class Silent(Policy):
        async def generate(self, request_id, **request):
            made = await super().generate(request_id, **request)
            return made.model_copy(update={"log_probs": None})

    plain = go(roll_out(loop(Silent(answer=once), [Counter()])))
    (made,) = draw(Silent(answer=once), plain, 5)
    assert plain.response_logprobs is None and made.log_probs is None and reentry_of(plain).reason is None
