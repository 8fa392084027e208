"""Faults of single rollouts and rewards, many in one run: each costs its own rollout, and the run goes on."""

import math

import pytest

from tests.faults.data import ANSWERS, MEGABYTE, REWARDS, soft_data
from verl_gpo.report.__main__ import main as report
from verl_gpo.traces.reader import read_traces
from verl_gpo.traces.runlog import RunLog

pytestmark = [pytest.mark.faults, pytest.mark.e2e, pytest.mark.pipeline]

N, PROMPTS, STEPS = 4, 8, 3
PROMISED = "costs its own rollout, is counted and named in the log; the run goes on"
#: What the log says of each kind of fault.
SAID = {
    "raise": ["KeyError", "injected for the root", "injected for the search"],
    "hang": ["no reward within"],
    "nan": ["the reward function returned nan"],
}


def text_of(record):
    return "".join(step["text"] for anchor in record["anchors"] for step in anchor["steps"])


def drawn(anchor):
    """(first token, continuation) of all that was drawn from a response's states."""
    starts = [0, *(step["end"] for step in anchor["steps"])]
    return [(start, c) for start, state in zip(starts, anchor["states"], strict=True) for c in state["continuations"]]


def faults(table, new_stage, arithmetic_data, folder, slow, timeout):
    """Two steps in which each prompt has another fault, and one without."""
    stage = new_stage(
        "soft",
        f"data.train_batch_size={PROMPTS}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={PROMPTS}",
        "data.shuffle=false",
        f"trainer.total_training_steps={STEPS}",
        "reward.custom_reward_function.path=pkg://tests.faults.reward",
        f"algorithm.gpo.reward_timeout={timeout}",
        data=soft_data(arithmetic_data, folder / "data"),
    )
    ended = stage.run(environment={"VERL_GPO_FAULT_SLOW": str(slow)})
    assert ended.status == 0, ended.log[-6000:]
    steps = RunLog.read(stage.metrics).steps
    assert list(steps) == [1, 2, 3]
    for metrics in steps.values():  # nothing that is not finite has reached the policy
        for name in ("actor/grad_norm", "actor/pg_loss", "critic/rewards/mean", "gpo/reward/root"):
            assert math.isfinite(metrics[name]), name
    traced = {}
    for record in read_traces(stage.traces):
        traced.setdefault(record["global_step"], []).append(record)
    first, second, third = (steps[step] for step in (1, 2, 3))
    # A root whose reward fails is missing, and its prompt is not searched; the slow one is waited for.
    with table.row("reward of a root raises, hangs, is NaN", PROMISED) as row:
        row.leftovers = ended.leftovers
        assert first["gpo/rollouts/root"] == PROMPTS * N - 3 and first["gpo/skipped/root_failed"] == 3 / PROMPTS
        row.seen = f"{PROMPTS * N - 3} of {PROMPTS * N} root rollouts trained on, 3 prompts not searched"
    with table.row("reward of a continuation raises, hangs, is NaN", PROMISED) as row:
        assert first["gpo/failures/scoring"] == 3 and first["gpo/prompts/failed"] == 0
        assert len(traced[1]) == PROMPTS - 3
        row.seen = "3 continuations without a reward; all other prompts searched"
    with table.row(f"reward returns after {slow:g} s, of a root and of a continuation", "is waited for") as row:
        # The two slow ones are of two prompts, beside each other and beside those that hang, which get all their time.
        assert first["timing_s/gen"] >= timeout > slow
        row.seen = f"rollout took {first['timing_s/gen']:.0f} s; both rewards count"
    for kind, words in SAID.items():
        for word in words:
            assert word in ended.log, f"{kind}: nothing says {word}"
    traced_of = {record["sample_index"]: record for record in traced[2]}
    rows = {fault: index for index, fault in enumerate(ANSWERS, start=len(REWARDS))}
    with table.row("a continuation aborted in the engine; one that is empty", PROMISED) as row:
        for fault in ("aborted_search", "empty_search"):
            assert traced_of[rows[fault]]["usage"]["value"]["sampling_failures"] == 1, fault
        assert second["gpo/failures/sampling"] == 2
        row.seen = "2 continuations are missing, in their own prompts"
    with table.row("a root aborted in the engine; one that is empty", "counts as a failed root") as row:
        assert second["gpo/rollouts/root"] == PROMPTS * N - 2 and second["gpo/skipped/root_failed"] == 2 / PROMPTS
        assert not {rows["empty_root"], rows["aborted_root"]} & set(traced_of)
        row.seen = f"{PROMPTS * N - 2} of {PROMPTS * N} root rollouts trained on, 2 prompts not searched"
    with table.row("responses that fill the budget", "are searched; nothing is drawn where no token is left") as row:
        (anchor,) = traced_of[rows["full_roots"]]["anchors"]
        assert anchor["tokens"] == 64 and anchor["states"][0]["count"] > 0
        assert all(c["tokens"] + start <= 64 for start, c in drawn(anchor))
        row.seen = "searched; no continuation goes beyond the budget"
    with table.row("HTML, control characters and megabytes in responses", "are traced whole and shown as text") as row:
        texts = {fault: text_of(traced_of[rows[fault]]) for fault in ANSWERS if fault.endswith("roots")}
        assert texts["html_roots"].startswith("<script>alert(1)</script><img src=x onerror=alert(2)>")
        assert "\x1b]0;title\x07" in texts["controls_roots"] and texts["megabytes_roots"].count(MEGABYTE) == 2
        page = folder / "page.html"
        assert report(["--traces", str(stage.traces), "--runs", str(stage.metrics), "--out", str(page)]) == 0
        html = page.read_text(encoding="utf-8")
        assert "<script>alert(1)" not in html and "<img src=x" not in html and "\x1b" not in html
        row.seen = f"{sum(map(len, texts.values())) / 1e6:.0f} MB traced; a page of {len(html) / 1e6:.1f} MB"
    assert third["gpo/rollouts/root"] == PROMPTS * N and third["gpo/failures/scoring"] == 0
    assert len(traced[3]) == PROMPTS == len(REWARDS) == len(ANSWERS)


def test_faults_of_rollouts_and_rewards(table, new_stage, arithmetic_data, tmp_path):
    faults(table, new_stage, arithmetic_data, tmp_path, slow=6.0, timeout=20.0)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_reward_that_returns_after_a_minute(table, new_stage, arithmetic_data, tmp_path):
    faults(table, new_stage, arithmetic_data, tmp_path, slow=60.0, timeout=90.0)
