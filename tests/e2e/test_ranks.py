"""Two ranks on the CPU: two processes that train with FSDP2 over gloo, two replicas, two rollout workers."""

import re
from collections import Counter

import pytest

from tests.e2e.conftest import common
from tests.e2e.test_training import ARITHMETIC, assert_rollout_and_actor_agree
from verl_gpo.plan.__main__ import gpo_settings
from verl_gpo.plan.configuration import load
from verl_gpo.plan.numbers import Expectation, workload
from verl_gpo.traces.reader import trace_frame

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]


def test_two_ranks_train_on_as_many_rows_in_as_many_steps_as_one(train, arithmetic_data, tmp_path, monkeypatch):
    overrides = [
        "algorithm.gpo.rows=matched",
        "actor_rollout_ref.rollout.n=8",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",
        f"algorithm.gpo.trace_dir={tmp_path}/traces",
        "trainer.total_training_steps=2",
        "trainer.test_freq=-1",
    ]
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")  # for the lines that a replica writes of each request
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    requests = "+actor_rollout_ref.rollout.engine_kwargs.vllm.enable_log_requests=true"
    run = train("two", *ARITHMETIC, *overrides, "trainer.n_gpus_per_node=2", requests)

    one = load(*ARITHMETIC, [*common(arithmetic_data), *overrides])
    expected = workload(one, gpo_settings(one), Expectation(8, 54, "the task's")).actor
    assert (expected.rows, expected.optimizer_steps) == (32, 2)
    assert sorted(run.metrics) == [1, 2]
    for metrics in run.metrics.values():
        assert metrics["gpo/rows"] == expected.rows and metrics["gpo/optimizer_steps"] == expected.optimizer_steps
        assert metrics["gpo/rollouts/root"] + metrics["gpo/rollouts/reentry"] == expected.rows
        assert metrics["gpo/failures/sampling"] == metrics["gpo/failures/scoring"] == metrics["gpo/prompts/failed"] == 0
        assert metrics["actor/grad_norm"] > 0
        assert_rollout_and_actor_agree(metrics)  # in the second step of both replicas, with updated weights
        # Continuations of a prompt stay on the replica that has its prefix.
        assert metrics["gpo/prefix_cache_hit_share"] > 0.3
    assert sum(metrics["gpo/rollouts/reentry"] for metrics in run.metrics.values()) > 0

    served = Counter(re.findall(r"\(vLLMHttpServer pid=(\d+)[^)]*\).*Added request", run.log))
    assert len(served) == 2 and min(served.values()) > 0.2 * served.total(), served
    assert len(set(re.findall(r"\(WorkerDict pid=(\d+)", run.log))) == 2
    traces = trace_frame(tmp_path / "traces")
    assert len(traces) == 8 and len(list((tmp_path / "traces").iterdir())) == 2
