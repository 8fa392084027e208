"""Prompts that are late: what a worker remembers, and roots instead of rows that would begin too late."""

import asyncio
import math
from types import SimpleNamespace

import pytest

from scripts.bench_simulation import VirtualLoop
from tests.plugin.fakes import ANCHOR, N_REENTRY, WRONG, N, ids
from verl_gpo.config import GPOConfig
from verl_gpo.core.result import GroupResult
from verl_gpo.core.stall import EngineClock
from verl_gpo.plugin.lateness import Lateness
from verl_gpo.plugin.roots import RootGroup

#: The driven prompts are of training step 3.
STEP = 3


def lateness(**settings):
    return Lateness(GPOConfig(**settings), EngineClock())


def remembered(known, step, prompts):
    """``prompts``: tokens of the longest root, its seconds, the chain, seconds until the first roots were back."""
    for tokens, seconds, chain, waited in prompts:
        group = RootGroup(2, 2, "single_turn_agent", longest_seconds=seconds)
        group.rollouts = {0: (SimpleNamespace(response_ids=[7] * tokens), {}), 1: ([], {})}
        known.note(step, group, GroupResult(chain=chain), waited)
    return known


def test_chains_are_bounded_by_the_longest_root_in_tokens():
    known = remembered(lateness(step_stretch=1.5), 2, [(100, 9.0, 120, 9.0), (400, 30.0, 500, 30.0)])
    assert known.longest_chain(STEP) == 600.0 and known.longest_wait(STEP) == math.inf


def test_the_time_of_a_prompt_counts_in_tokens_of_the_longest_root():
    known = remembered(lateness(step_stretch=1.5), 2, [(100, 50.0, 120, 9.0), (400, 30.0, 500, 30.0)])

    async def main():
        clock, loop = known._clock, asyncio.get_running_loop()
        clock.sent(loop.time())
        await asyncio.sleep(7.0)
        passed = known.passed(STEP, RootGroup(2, 2, "single_turn_agent", began=clock.now(loop.time())))
        await asyncio.sleep(2.0)
        return passed(), known.passed(9, RootGroup(2, 2, "single_turn_agent"))()

    loop = VirtualLoop()
    try:
        now, unknown = loop.run_until_complete(main())
    finally:
        loop.close()
    assert now == pytest.approx(16.0) and unknown == 0.0  # 400 tokens in 50 s, for 2 s


def test_under_matched_rows_the_wait_for_the_first_roots_is_bounded_in_seconds():
    known = lateness(step_stretch=1.25, rows="matched")
    remembered(known, 2, [(100, 10.0, 120, 8.0), (400, 40.0, 500, 30.0)])
    assert known.longest_wait(STEP) == 10.0  # a quarter of 40 s; one of two prompts was back by then
    # If no prompt's roots are back by then, there is nothing to wait for, and no limit.
    known = lateness(step_stretch=1.05, rows="matched")
    assert remembered(known, 2, [(100, 40.0, 120, 38.0)] * 8).longest_wait(STEP) == math.inf


def test_by_default_nothing_is_bounded():
    known = remembered(lateness(rows="matched"), 2, [(100, 10.0, 20, 1.0)])
    assert known.longest_chain(STEP) == known.longest_wait(STEP) == math.inf


def test_a_prompt_without_search_or_roots_is_not_remembered():
    known = lateness(step_stretch=1.5)
    known.note(2, RootGroup(2, 2, "single_turn_agent"), None, 1.0)
    assert known.longest_chain(STEP) == math.inf


def test_waiting_counts_seconds_in_which_the_engine_worked():
    clock = EngineClock(quiet=5.0)
    known = Lateness(GPOConfig(), clock)

    async def main():
        loop = asyncio.get_running_loop()
        clock.sent(loop.time())
        waiting = asyncio.ensure_future(known.wait(8.0, clock.now(loop.time())))
        await asyncio.sleep(100.0)  # the engine is silent: five seconds of it count
        assert not waiting.done()
        clock.came_back(loop.time(), 10, 1.0)
        await waiting
        return loop.time()

    loop = VirtualLoop()
    try:
        assert loop.run_until_complete(main()) == pytest.approx(103.0, abs=0.1)
    finally:
        loop.close()


# The worker. Five rows a prompt, two roots at first.

MATCHED = (
    "algorithm.gpo.rows=matched",
    "algorithm.gpo.step_stretch=1.05",
    f"actor_rollout_ref.rollout.n={N + N_REENTRY}",
)


def late(run, wait):
    """Make the worker wait a given number of seconds for the first roots."""
    run.worker._lateness.longest_wait = lambda step: wait
    return run


def test_roots_take_the_place_of_rows_that_would_begin_too_late(start):
    run = late(start(*MATCHED), 0.05)
    run.client.fail = lambda state, number: 0.4 if (state, number) == ("", 0) else None  # the first root takes long
    run.client.answer = lambda state, number: ANCHOR if number == 0 else WRONG
    run.prompt()
    assert run.uids() == {f"p_{i}_0": "p" for i in range(5)}
    assert run.record["skipped"] == "late" and run.record["late"] and not run.record["failed"]
    assert run.client.of("aaaa\n") == [] and len(run.client.of("")) == 5
    # They were started while the first root was still being generated, and it ended last.
    assert [key for key, tag in run.queue.log if "columns" in tag][-1] == "p_0_0"
    assert run.queue.tags["p"]["status"] == "finished" and run.queue.log[-1][0] == "p"
    metrics = run.metrics
    assert metrics["gpo/prompts/late"] == metrics["gpo/skipped/late"] == metrics["gpo/late/root_tokens_ratio"] == 1.0
    assert run.record["root_tokens"] == len(ids(ANCHOR)) + 4 * len(ids(WRONG))


def test_roots_that_are_back_in_time_are_searched(start):
    run = late(start(*MATCHED), 30.0).prompt()
    assert len(run.reentry_rows()) == N_REENTRY and not run.record["late"] and len(run.client.of("")) == N


def test_a_root_that_fails_after_others_took_its_place_is_a_row_less(start):
    run = late(start(*MATCHED), 0.02)
    run.client.fail = lambda state, number: 0.3 if (state, number) == ("", 1) else None
    run.client.answer = lambda state, number: ANCHOR if number == 0 else WRONG
    failing = run.worker._compute_score

    async def compute(outputs, kwargs):
        if kwargs["session_id"] == 4:
            raise RuntimeError("broken")
        return await failing(outputs, kwargs=kwargs)

    run.worker._compute_score = compute
    run.prompt()
    assert sorted(run.uids()) == [f"p_{i}_0" for i in range(4)] and run.record["failed"]


def test_a_worker_learns_from_its_prompts(start):
    run = start("algorithm.gpo.step_stretch=1.0").prompt()
    # One prompt: a root of 19 tokens, a round and a rollout make a chain of three times as many: there is no shadow.
    assert run.worker._lateness.longest_chain(STEP) == math.inf  # its own step never limits it
    assert run.worker._lateness.longest_chain(STEP + 1) == math.inf
    ((longest, chain, seconds),) = run.worker._lateness._chains._seen[STEP]
    assert longest == len(ids(ANCHOR)) and chain == 3 * longest and seconds > 0


def test_under_full_determinism_no_choice_depends_on_the_time(start):
    def passed(*settings):
        lateness = start("algorithm.gpo.step_stretch=1.0", *settings).worker._lateness
        remembered(lateness, 2, [(400, 50.0, 500, 30.0)])

        async def after_two_seconds():
            lateness._clock.sent(asyncio.get_running_loop().time() - 2.0)
            return lateness.passed(STEP, RootGroup(2, 2, "single_turn_agent"))()

        return asyncio.run(after_two_seconds())

    assert passed() == pytest.approx(16.0, rel=0.1)
    assert passed("actor_rollout_ref.rollout.full_determinism=true") == 0.0


def test_a_limit_on_chains_reaches_the_search(start):
    run = start("algorithm.gpo.step_stretch=1.0")
    run.worker._lateness.longest_chain = lambda step: 2.0 * len(ids(ANCHOR))
    run.prompt()
    assert run.record["shortened"] and not run.record["late"]
    assert run.record["usage"]["value"]["requests"] == 0 and run.metrics["gpo/prompts/shortened"] == 1.0
