"""Rewards that do not come, or are no numbers."""

import asyncio
import math
import re
from types import SimpleNamespace

import pytest

from verl_gpo.core.types import ScoringError
from verl_gpo.plugin.rewards import Rewards


async def gives(output, reward, seconds=0.0, error=None):
    await asyncio.sleep(seconds)
    if error:
        raise error
    output.reward_score = reward


@pytest.mark.parametrize("reward", [1.0, 0, -2.5, None])
def test_a_number_passes_and_so_does_none(reward):
    rewards, output = Rewards(5.0), SimpleNamespace(reward_score=None)
    asyncio.run(rewards.checked(gives(output, reward), output))
    assert output.reward_score == reward and (rewards.waiting, rewards.done) == (0, 1)


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, "right", [1.0, 0.0]])
def test_what_is_no_finite_number_fails(reward):
    output = SimpleNamespace(reward_score=None)
    with pytest.raises(
        ScoringError, match=re.escape(f"the reward function returned {reward!r}, which is not a finite")
    ):
        asyncio.run(Rewards(5.0).checked(gives(output, reward), output))


def test_a_reward_that_hangs_fails_after_its_time_and_is_counted_meanwhile():
    async def main():
        rewards, output = Rewards(0.2), SimpleNamespace(reward_score=None)
        task = asyncio.ensure_future(rewards.checked(gives(output, 1.0, seconds=60), output))
        await asyncio.sleep(0.05)
        assert (rewards.waiting, rewards.done) == (1, 0)
        with pytest.raises(ScoringError, match="no reward within 0.2 s"):
            await task
        assert (rewards.waiting, rewards.done) == (0, 1)

    asyncio.run(main())


def test_the_reward_functions_own_error_passes():
    rewards, output = Rewards(5.0), SimpleNamespace(reward_score=None)
    with pytest.raises(KeyError, match="answer"):
        asyncio.run(rewards.checked(gives(output, 1.0, error=KeyError("answer")), output))
    assert (rewards.waiting, rewards.done) == (0, 1)
