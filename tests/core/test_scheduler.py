"""Fairness, bounds and cancellation of the scheduler with requests that last as long as they are told."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_gpo.core.scheduler import Scheduler


def run(slots, prompts):
    """Run prompts of ``(start, [(tokens, seconds), ...])`` and return the order and time in which requests began."""
    begun = []

    async def request(queue, name, tokens, seconds, clock):
        async with queue.slot(tokens):
            begun.append(name)
            await clock.sleep(seconds)

    async def main():
        clock = Clock()
        scheduler = Scheduler(slots)
        tasks = []
        for name, requests in prompts.items():
            queue = scheduler.queue()
            tasks += [asyncio.create_task(request(queue, name, *each, clock)) for each in requests]
        await clock.run(tasks)
        assert scheduler.held == 0
        return begun

    return asyncio.run(main())


class Clock:
    """Virtual seconds: the next sleeper wakes when nobody else can go on."""

    def __init__(self):
        self.now = 0.0
        self._sleepers = []
        self._numbers = itertools.count()

    async def sleep(self, seconds):
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, next(self._numbers), future))
        await future

    async def run(self, tasks):
        while not all(task.done() for task in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            if self._sleepers:
                self._sleepers.sort()
                self.now, _, future = self._sleepers.pop(0)
                future.set_result(None)
        for task in tasks:
            task.result()


def test_a_short_prompt_does_not_wait_for_all_of_a_long_one():
    # Two slots, of which one prompt holds one at most. The long prompt asks first, for 100 requests of 1,000 tokens.
    begun = run(2, {"long": [(1000, 10.0)] * 100, "short": [(10, 0.1)] * 5})
    assert begun.index("short") == 1 and [i for i, name in enumerate(begun) if name == "short"] == [1, 2, 3, 4, 5]


def test_slots_are_shared_by_tokens():
    # One slot. Start tags of a: 0 100 200 ...; of b: 0 50 100 150 ...: b is served twice as often, for half the tokens.
    begun = run(1, {"a": [(100, 1.0)] * 4, "b": [(50, 1.0)] * 8})
    assert begun[:6].count("b") == 4 and sorted(begun) == ["a"] * 4 + ["b"] * 8


def test_a_newcomer_starts_where_the_others_are():
    # It gets no credit for the time before it came: V is what was served last.
    async def main():
        scheduler, begun = Scheduler(1), []
        old, new = scheduler.queue(), scheduler.queue()

        async def request(queue, name):
            async with queue.slot(100):
                begun.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(*(request(old, "old") for _ in range(5)))
        tasks = [request(old, "old") for _ in range(3)] + [request(new, "new") for _ in range(3)]
        await asyncio.gather(*tasks)
        return begun[5:]

    begun = asyncio.run(main())
    assert begun[:2].count("new") == 1 and begun[:4].count("new") == 2


@settings(max_examples=40)
@given(st.integers(1, 9), st.lists(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 3)), max_size=6), max_size=5))
def test_no_more_than_the_slots_are_held_and_all_are_served(slots, prompts):
    most = 0

    async def main():
        nonlocal most
        clock, scheduler = Clock(), Scheduler(slots)

        async def request(queue, tokens, seconds):
            nonlocal most
            async with queue.slot(tokens):
                most = max(most, scheduler.held)
                assert queue.held <= (slots + 1) // 2
                await clock.sleep(seconds)

        tasks = []
        for requests in prompts:
            queue = scheduler.queue()
            tasks += [asyncio.create_task(request(queue, *each)) for each in requests]
        await clock.run(tasks)
        assert scheduler.held == 0

    asyncio.run(main())
    assert most <= slots


def test_a_request_that_is_given_up_leaves_its_place():
    async def main():
        scheduler = Scheduler(2)
        queue, other = scheduler.queue(), scheduler.queue()
        release = asyncio.Event()

        async def hold(which):
            async with which.slot(1):
                await release.wait()

        tasks = [asyncio.create_task(hold(which)) for which in (queue, other, queue, other)]
        await asyncio.sleep(0)
        assert scheduler.held == 2
        tasks[2].cancel()  # waits
        tasks[0].cancel()  # holds a slot
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert scheduler.held == 1 and other.held == 1  # a prompt holds half of two slots
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert scheduler.held == 0 and [task.cancelled() for task in tasks] == [True, False, True, False]

    asyncio.run(main())


def test_slots_are_at_least_one():
    with pytest.raises(ValueError, match="slots=0: must be at least 1"):
        Scheduler(0)


def test_roots_take_slots_but_for_a_quarter():
    async def main():
        scheduler = Scheduler(8)
        for number in range(7):
            scheduler.root_sent(number)
        queues = [scheduler.queue() for _ in range(8)]
        end = asyncio.Event()

        async def request(queue):
            async with queue.slot(1):
                await end.wait()

        tasks = [asyncio.create_task(request(queue)) for queue in queues]
        held = []
        for back in (None, 6, 6, 5, 4, "never sent", 3, 2, 1, 0):
            if back is not None:
                scheduler.root_back(back)
            await asyncio.sleep(0)
            held.append(scheduler.held)
        end.set()
        await asyncio.gather(*tasks)
        return held

    assert asyncio.run(main()) == [2, 2, 2, 3, 4, 4, 5, 6, 7, 8]
