"""What the worker leaves alone: its roots are rolled out as verl does it, and nothing is added."""

import pytest

from tests.plugin.fakes import N_REENTRY, RESET_UID, WRONG, N
from verl_gpo.plugin.observe.metrics import TAG


@pytest.mark.parametrize("metric", ["reward", "acc"])
def test_a_group_that_verl_will_drop_is_not_searched(start, metric):
    on = ("algorithm.filter_groups.enable=true", f"algorithm.filter_groups.metric={metric}")
    run = start(*on)
    run.client.answer = lambda state, number: WRONG
    run.prompt()
    assert run.only_roots_are_left() and len(run.client.requests) == N
    assert run.record["skipped"] == "filter_groups"
    assert len(start(*on).prompt().reentry_rows()) == N_REENTRY  # a mixed group is


def test_validation_is_left_alone(start):
    run = start("actor_rollout_ref.rollout.val_kwargs.n=2").prompt(validate=True)
    assert sorted(run.queue.rows()) == ["p_0_0", "p_1_0"] and set(run.queue.partitions.values()) == {"val"}
    assert len(run.client.requests) == 2 and not any(TAG in tag for tag in run.queue.tags.values())


def test_switched_off_roots_are_counted_and_nothing_is_added(start):
    run = start("algorithm.gpo.enable=false").prompt()
    assert run.only_roots_are_left() and len(run.client.requests) == N
    record = run.queue.tags["p_0_0"][TAG]
    assert record["skipped"] == "off" and "usage" not in record
    assert len(record["root_rewards"]) == N and record["root_tokens"] > 0


def test_a_greedy_baseline_is_left_alone(start):
    run = start().prompt(__do_sample__=False, __rollout_n__=1)
    assert sorted(run.queue.rows()) == ["p_0_0"] and len(run.client.requests) == 1
    assert TAG not in run.queue.tags["p_0_0"]


def test_a_prompt_may_have_a_group_size_of_its_own(start):
    run = start().prompt(__rollout_n__=3)
    # V(s_0) = 1/3 and the same critical step; the re-entry rollouts are the sessions 3, 4 and 5.
    assert sorted(run.queue.rows()) == [f"p_{session}_0" for session in range(3 + N_REENTRY)]
    assert [run.queue.columns[f"p_{i}_0"]["uid"] for i in range(6)] == ["p"] * 3 + [RESET_UID] * 3


def test_a_group_without_critical_step_has_no_reentry_rows(start):
    run = start()
    run.client.answer = lambda state, number: "= 6" if state else WRONG
    run.prompt()
    assert run.only_roots_are_left()
    assert run.record["critical"] == [] and run.metrics["gpo/prompts/without_critical_step"] == 1.0


def test_without_log_probs_no_row_has_them(start):
    run = start()
    run.client.log_probs = False
    run.prompt()
    assert len(run.reentry_rows()) == N_REENTRY
    assert not any("rollout_log_probs" in row for row in run.queue.rows().values())


def test_several_turns_are_not_reentered(start, monkeypatch):
    from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

    single = SingleTurnAgentLoop.run

    def pretend(change):
        async def run(self, sampling_params, **kwargs):
            output = await single(self, sampling_params, **kwargs)
            change(output)
            return output

        monkeypatch.setattr(SingleTurnAgentLoop, "run", run)

    def more_turns(output):
        output.num_turns = 4

    def tool_tokens(output):
        output.response_mask[3] = 0

    for change in (more_turns, tool_tokens):
        pretend(change)
        run = start().prompt()
        assert run.only_roots_are_left() and len(run.client.requests) == N
        assert run.record["skipped"] == "multi_turn" and run.metrics["gpo/prompts/skipped"] == 1.0
