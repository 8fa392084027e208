"""Whatever fails costs its own rollout, its own prompt at most, and never the roots."""

import asyncio

import pytest
import transfer_queue as tq
from verl.workers.rollout.replica import TokenOutput

from tests.plugin.fakes import N_MC, N_REENTRY, N
from verl_gpo.plugin.observe.metrics import TAG

LOST = {
    "raises": ConnectionError("lost"),
    "aborted": TokenOutput(token_ids=[65], stop_reason="aborted"),
    "empty": TokenOutput(token_ids=[], stop_reason="completed"),
}


@pytest.mark.parametrize("how", LOST)
def test_a_lost_continuation_costs_its_estimate_only(start, how):
    run = start()
    # One of the two values of s_2 and one of the three re-entry rollouts are lost.
    lost = {("aaaa\nbbbb\n", 1), ("aaaa\n", N_MC + 1)}
    run.client.fail = lambda state, number: LOST[how] if (state, number) in lost else None
    run.prompt()
    assert sorted(run.queue.rows()) == ["p_0_0", "p_1_0", "p_2_0", "p_3_0"]
    assert run.record["reentry_rewards"] == [1.0, 1.0] and run.record["critical"][0][:3] == (1, 4, 1.0)
    assert run.metrics["gpo/failures/sampling"] == 2.0 and run.metrics["gpo/failures/scoring"] == 0.0
    assert (run.metrics["gpo/prompts/failed"], run.queue.tags["p"]["status"]) == (0.0, "finished")


def test_every_continuation_lost_leaves_the_roots(start):
    run = start()
    run.client.fail = lambda state, number: ConnectionError("lost") if state else None
    run.prompt()
    assert run.only_roots_are_left()
    assert run.record["critical"] == [] and run.metrics["gpo/failures/sampling"] == 3.0 * N_MC


def test_a_lost_reward_costs_its_estimate_only(start):
    run = start()
    run.reward.fail = lambda text: "x\n" in text  # the second re-entry rollout's
    run.prompt()
    assert [row["rm_scores"][-1].item() for row in run.reentry_rows().values()] == [1.0, 1.0]
    assert run.metrics["gpo/failures/scoring"] == 1.0 and run.metrics["gpo/failures/sampling"] == 0.0
    assert run.record["usage"]["reentry"]["tokens"] == 4 + 6 + 4  # it was generated all the same


def test_a_reward_that_never_comes_is_given_up(start):
    run = start("algorithm.gpo.reward_timeout=3")
    remote = run.reward.remote

    async def slow(data):
        if len(run.reward.scored) >= N:
            run.reward.scored.append("late")
            await asyncio.sleep(30)
        return await remote(data)

    run.reward.remote = slow
    run.prompt()
    assert run.only_roots_are_left() and run.metrics["gpo/failures/scoring"] == 3.0 * N_MC


@pytest.mark.parametrize("what", ["rows", "group ids"])
def test_a_queue_that_fails_leaves_the_roots(start, what):
    run = start()

    def fails(keys, names):
        reentry = int(keys[0].split("_")[1]) >= N
        return reentry and (names == ["uid"] if what == "group ids" else keys == [f"p_{N + 1}_0"])

    run.queue.fail_on = fails
    run.prompt()
    assert run.only_roots_are_left()
    cleared = sorted(key for key, event in run.queue.log if "cleared" in event)
    assert cleared == (["p_2_0", "p_4_0"] if what == "rows" else ["p_2_0", "p_3_0", "p_4_0"])
    assert run.record["failed"] is True and run.metrics["gpo/prompts/failed"] == 1.0
    assert run.metrics["gpo/rollouts/root"] == 2.0


def test_an_engine_that_fails_leaves_the_roots(start):
    run = start()

    async def broken(*args, **kwargs):
        raise ZeroDivisionError

    run.worker._procedure.run = broken
    run.prompt()
    assert run.only_roots_are_left() and run.record["failed"] is True


def test_a_failed_root_means_no_reentry(start):
    run = start()
    run.client.fail = lambda state, number: ConnectionError("lost") if (state, number) == ("", 1) else None
    run.prompt()
    assert len(run.queue.rows()) == 1 and len(run.client.requests) == N
    assert run.queue.tags["p"]["status"] == "failure"  # verl's own report of it
    (key,) = run.queue.rows()
    assert run.queue.tags[key][TAG]["skipped"] == "root_failed"


def test_all_roots_failed(start):
    run = start()
    run.client.fail = lambda state, number: ConnectionError("lost")
    run.prompt()
    assert not run.queue.rows() and run.queue.tags["p"]["status"] == "failure"
    assert run.worker._groups == {}


def test_metrics_that_cannot_be_written_cost_nothing_else(start, monkeypatch):
    run = start()
    put = run.queue.put

    async def refuse_records(key, partition_id, fields=None, tag=None):
        if tag is not None and TAG in tag:
            raise ConnectionError("the queue is gone")
        await put(key, partition_id, fields, tag)

    monkeypatch.setattr(tq, "async_kv_put", refuse_records)
    run.prompt()
    assert len(run.reentry_rows()) == N_REENTRY and run.queue.tags["p"]["status"] == "finished"
