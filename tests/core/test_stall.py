"""What stalls is given up; what is long, queued, or waits for a training step is not. In virtual seconds."""

import asyncio

import pytest

from scripts.bench_simulation import Hardware, Replica, VirtualLoop
from verl_gpo.core.draw import Draw, Usage, Wanted
from verl_gpo.core.scheduler import Scheduler
from verl_gpo.core.stall import EngineClock, watched
from verl_gpo.core.types import Continuation, ScoredContinuation, StalledError
from verl_gpo.core.values import monte_carlo_value


def test_a_silent_engine_costs_nobody_patience():
    clock = EngineClock(quiet=30.0)
    assert clock.now(1000.0) == 0.0  # nothing has come back yet
    clock.came_back(1000.0, 100, 10.0)  # 0.1 s a token
    assert clock.now(1010.0) == 10.0
    assert clock.now(5000.0) == 30.0  # asleep for training
    clock.came_back(5000.0, 10, 0.5)
    assert clock.now(5004.0) == 34.0
    # Twice the slowest rate, 0.99 of which is remembered: 60 + 2 * 0.099 * 1000.
    assert clock.patience(60.0, 1000) == pytest.approx(258.0)


def play(main):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main(), 1e6))
    finally:
        loop.close()


async def answer(seconds, tokens=10, aborted=None):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if aborted is not None:
            aborted.append(True)
        raise
    return (0,) * tokens


def test_a_request_that_the_engine_has_lost_is_given_up_and_aborted():
    async def main():
        clock, aborted = EngineClock(quiet=30.0), []
        lost = asyncio.ensure_future(watched(answer(1e5, aborted=aborted), clock, 60.0, 100, len))
        for _ in range(400):  # others are answered, a token each 0.1 s
            await watched(answer(1.0), clock, 60.0, 100, len)
        with pytest.raises(StalledError, match="given up after 8. s in which the engine answered others"):
            await lost
        assert aborted == [True]

    play(main)


def test_a_long_answer_is_waited_for_as_long_as_its_tokens_take():
    async def main():
        clock = EngineClock(quiet=30.0)
        # 32,000 tokens at 25 a second take 1,280 s; others come back all the time, 40 tokens in 1.6 s.
        long = asyncio.ensure_future(watched(answer(1280.0, 32000), clock, 60.0, 32000, len))
        while not long.done():
            await watched(answer(1.6, 40), clock, 60.0, 32000, len)
        assert len(long.result()) == 32000

    play(main)


def test_a_pause_of_the_engine_costs_nobody_patience():
    async def main():
        clock = EngineClock(quiet=30.0)
        await watched(answer(1.0), clock, 60.0, 10, len)
        assert len(await watched(answer(3600.0), clock, 60.0, 10, len)) == 10  # the policy was trained meanwhile

    play(main)


def test_whoever_waits_may_be_cancelled():
    async def main():
        aborted = []
        task = asyncio.ensure_future(watched(answer(50.0, aborted=aborted), EngineClock(), 60.0, 10, len))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert aborted == [True]

    play(main)


def test_the_first_answer_gives_a_rate_as_well():
    # Without sent() the clock would start with the first answer, which would then have taken no time.
    clock = EngineClock(quiet=30.0)
    clock.sent(100.0)
    clock.sent(105.0)  # only the first request starts it
    assert clock.now(110.0) == 10.0
    clock.came_back(110.0, 100, clock.now(110.0))  # 0.1 s a token
    assert clock.patience(60.0, 1000) == pytest.approx(60.0 + 2 * 0.1 * 1000)


def test_a_request_that_is_watched_starts_the_clock():
    async def main():
        clock = EngineClock(quiet=30.0)
        await watched(answer(20.0, 10), clock, 60.0, 100, len)
        assert clock.patience(0.0, 1) == pytest.approx(2 * 2.0)

    play(main)


def test_long_right_answers_behind_a_queue_keep_the_values():
    # 16 prompts draw eight continuations of a state whose value is 1/2, at 25 tokens a second and with 64 slots in the
    # engine. Right answers have 32,000 tokens (1,280 s), wrong ones 2,000 (80 s). A
    # limit of 600 seconds on the clock would lose every right answer, and those that wait in the engine's queue.
    class Policy:
        def __init__(self, engine, clock):
            self.engine, self.clock, self.asked = engine, clock, 0

        async def sample(self, prefix, max_tokens, seed, lane=0):
            self.asked += 1
            right = self.asked % 2 == 0
            tokens = 32_000 if right else 2_000
            work = self.engine.generate(self.asked, 0, tokens)
            await watched(work, self.clock, 600.0, 32_000, lambda _: tokens)
            return Continuation((7,), source=right)

        async def score(self, prefix, continuation):
            return ScoredContinuation(continuation, float(continuation.source))

    async def main():
        policy, scheduler = Policy(Replica(Hardware(0.04, 0.0, 0.0, 64)), EngineClock()), Scheduler(128)
        usage = Usage()
        draws = [Draw(policy, policy, 64_000, str(number), scheduler) for number in range(16)]
        drawn = await asyncio.gather(*(draw.together([Wanted("s", 0, 8, 1.0)], lambda s: (), usage) for draw in draws))
        values = [monte_carlo_value(one["s"].samples, one["s"].censored) for one in drawn]
        assert usage.censored == 0 and usage.requests == 128
        assert sum(value.mean for value in values) / 16 == 0.5 and all(value.count == 8 for value in values)

    play(main)
