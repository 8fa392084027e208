"""Real vLLM, Ray, TransferQueue, FSDP and verl, on the small model: minutes."""

import pytest

from tests.e2e.conftest import RECIPE, rolled_out
from verl_gpo.traces.reader import trace_frame

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]
ARITHMETIC = (RECIPE / "config", "arithmetic")


def assert_rollout_and_actor_agree(metrics):
    """verl's own comparison: what vLLM sampled with is what the actor computes, in float32 up to rounding."""
    assert metrics["training/rollout_probs_diff_max"] < 1e-4
    assert metrics["training/rollout_actor_probs_pearson_corr"] > 0.9999
    assert metrics["rollout_corr/log_ppl_abs_diff"] < 1e-4


def assert_nothing_failed(metrics, prompts=4, n=4):
    assert metrics["gpo/rollouts/root"] == prompts * n
    assert metrics["gpo/failures/sampling"] == metrics["gpo/failures/scoring"] == metrics["gpo/prompts/failed"] == 0


def assert_searched(metrics, prompts=4, n=4):
    assert_nothing_failed(metrics, prompts, n)
    assert metrics["gpo/tokens/value"] > 0
    assert 0 <= metrics["gpo/critical/confidence"] <= 1
    assert metrics["gpo/prefix_cache_hit_share"] > 0.3


def assert_reentered(metrics, prompts=4, n=4):
    assert_searched(metrics, prompts, n)
    assert metrics["gpo/prompts/reentered"] > 0
    assert metrics["gpo/rollouts/reentry"] == 4 * metrics["gpo/critical/found"] > 0
    assert metrics["gpo/critical/advantage"] > 0
    assert metrics["gpo/tokens/reentry"] > 0


def assert_traces_agree(frame, metrics, prompts=4):
    """One record a prompt, and all of them say what the metrics say."""
    assert list(frame["global_step"]) == [step for step in metrics for _ in range(prompts)]
    assert (frame["model_version"] == frame["global_step"] - 1).all()
    for step, rows in frame.groupby("global_step"):
        continuations = [c for row in rows.itertuples() for state in row.states for c in state["continuations"]]
        assert rows["critical_step"].notna().sum() == metrics[step]["gpo/critical/found"]
        assert sum(c["learnt"] for c in continuations) == metrics[step]["gpo/rollouts/reentry"]
        assert sum(c["tokens"] for c in continuations if c["valued"]) == metrics[step]["gpo/tokens/value"]
        assert sum(map(sum, rows["root_rewards"])) / (prompts * 4) == pytest.approx(metrics[step]["gpo/reward/root"])
        assert rows["position"].mean() == pytest.approx(metrics[step]["gpo/critical/position"])


def trainings(folder):
    kept = [f"trainer.default_local_dir={folder}/checkpoints", f"algorithm.gpo.trace_dir={folder}/traces"]
    kept += ["trainer.save_freq=1", "trainer.test_freq=2"]
    return [
        ("saved", ARITHMETIC, 1, [*kept, "trainer.resume_mode=disable"]),
        ("resumed", ARITHMETIC, 2, [*kept, "trainer.resume_mode=auto"]),
    ]


def test_gpo_trains_is_saved_and_goes_on_where_it_was_saved(trained):
    runs, folder = trained
    assert sorted(runs["saved"]) == [1] and sorted(runs["resumed"]) == [2]
    both = {**runs["saved"], **runs["resumed"]}
    for metrics in both.values():
        assert_reentered(metrics)
        assert_rollout_and_actor_agree(metrics)  # the second step samples with updated weights
        assert metrics["actor/grad_norm"] > 0
        assert metrics["gpo/rows"] > 16 and metrics["gpo/optimizer_steps"] == 2  # four prompts, four roots each
    assert "val-core/verl_gpo/arithmetic/acc/mean@2" in both[2]
    # Its second step has other prompts than its first, and the traces of both lie in one folder.
    first, second = (
        {row["input"] for row in rolled_out(folder, name, step)} for step, name in ((1, "saved"), (2, "resumed"))
    )
    assert first and second and not first & second
    assert_traces_agree(trace_frame(folder / "traces"), both)


def test_it_goes_on_in_the_asynchronous_mode(trained, train, tmp_path):
    _, folder = trained
    where = [f"trainer.default_local_dir={tmp_path}/checkpoints", "trainer.resume_mode=resume_path"]
    where += [f"trainer.resume_from_path={folder}/checkpoints/global_step_2", "trainer.total_training_steps=5"]
    mode = ["trainer.v1.trainer_mode=colocate_async", "algorithm.gpo.preset=fast", "algorithm.gpo.rows=widened"]
    kl = ["algorithm.use_kl_in_reward=true", "actor_rollout_ref.actor.use_kl_loss=true"]
    resumed = train("asynchronous", *ARITHMETIC, *where, *mode, *kl)
    assert sorted(resumed.metrics) == [3, 4, 5] and "Resuming from" in resumed.log
    for metrics in resumed.metrics.values():
        assert_nothing_failed(metrics)
        assert metrics["gpo/rows"] >= 16 and metrics["gpo/optimizer_steps"] == 1
        assert metrics["actor/reward_kl_penalty"] != 0  # an estimate, of either sign
        assert metrics["actor/kl_loss"] > 0
        # A fraction of what valuing all eight states four times costs, and part of it is learnt from.
        assert metrics["gpo/states_sampled"] < 8 and metrics["gpo/requests/value"] < 4 * 8 * 4 / 2
    # A step may find nothing worth a continuation, by what is free; not all of them.
    assert max(metrics["gpo/tokens/value"] for metrics in resumed.metrics.values()) > 0
    assert max(metrics["gpo/rollouts/reentry"] for metrics in resumed.metrics.values()) > 0
    # It does run ahead: some step trains on rollouts of an older policy.
    assert max(m["training/off_policy/trajectory_staleness/max"] for m in resumed.metrics.values()) >= 1
