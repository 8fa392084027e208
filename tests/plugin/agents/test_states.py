"""What is kept of a state, and what restores it: by replay, and with failures."""

import sys

import pytest

from tests.plugin.agents.world import (
    ECHO,
    Counter,
    Keeper,
    Ledger,
    Policy,
    Replayed,
    go,
    loop,
    parts,
    roll_out,
    sampler,
)
from verl_gpo.core.types import SamplingError
from verl_gpo.plugin.agents.output import reentry_of

BOTH = (
    '<tool_call>{"name": "log", "arguments": {"by": 2}}</tool_call>'
    '<tool_call>{"name": "count", "arguments": {"by": 1}}</tool_call>'
)


def twice(head):
    return BOTH if head.count("[tool]") < 4 else "end"


def rolled(*tools):
    return go(roll_out(loop(Policy(answer=twice), list(tools))))


def branch(root, state):
    kept = reentry_of(root).states[state].tokens
    made = sampler(Policy(answer=twice), root)
    return go(made.sample(tuple(root.response_ids[:kept]), 400 - kept, 1))


def test_recorded_calls_are_executed_again_and_only_those():
    count, log = Counter(), Replayed("log")
    root = rolled(count, log)
    assert (count.executed, log.executed) == (2, 2)
    made = branch(root, 1)
    assert parts(made.source)["tokens"] == root.response_ids
    # The second round of both is new; of the first only the replayed tool's call was executed again.
    assert (count.executed, log.executed) == (3, 4)
    # The last state: both its calls are executed again, and none is new.
    branch(root, 2)
    assert (count.executed, log.executed) == (3, 6)


def test_a_replayed_answer_that_differs_fails_the_continuation_and_says_so(caplog):
    log = Replayed("log")
    root = rolled(Counter(), log)
    log.numbers = type("Shifted", (dict,), {"get": lambda self, key, default: 100})()
    with pytest.raises(SamplingError, match=r"log\(.*\) was answered differently when it was replayed"):
        branch(root, 1)
    assert "snapshot and restore" in caplog.text
    # Without a call before the state there is nothing to compare.
    assert branch(root, 0).source.response_ids != root.response_ids


def test_tools_with_side_effects_are_never_executed_again():
    class Restorable(Ledger, Counter):
        """It has side effects, and can be restored without one."""

    count, ledger = Counter(), Restorable("log")
    root = rolled(count, ledger)
    assert reentry_of(root).reason is None
    branch(root, 2)
    assert ledger.executed == 2
    assert reentry_of(rolled(Counter(), Ledger("log"))).reason == "environment"


@pytest.mark.parametrize("tool", [Keeper("log"), Ledger("log")])
def test_a_tool_that_cannot_be_restored_is_a_reason(tool):
    root = rolled(Counter(), tool)
    assert reentry_of(root).reason == "environment" and reentry_of(root).states == []


def test_only_the_tools_of_a_row_count():
    async def selected():
        made = loop(Policy(answer=lambda head: "end"), [ECHO, Keeper("log")])
        return await roll_out(made, extra_info={"tool_selection": ["echo"]})

    assert reentry_of(go(selected())).reason is None


def test_a_snapshot_that_fails_is_a_reason(caplog):
    class Breaks(Counter):
        def snapshot(self, agent_data):
            raise OSError("no space")

    root = rolled(Breaks())
    assert reentry_of(root).reason == "snapshot" and "no space" in caplog.text


def test_a_failing_restore_fails_the_continuation_only():
    class Breaks(Counter):
        def restore(self, agent_data, state):
            raise OSError("gone")

    root = rolled(Breaks(), Replayed("log"))
    with pytest.raises(SamplingError, match="gone"):
        branch(root, 1)


def test_a_handle_of_a_replayed_session_is_the_new_one():
    class Session(Replayed):
        async def execute(self, instance_id, parameters, agent_data=None, **kwargs):
            agent_data.extra_fields["session"] = f"of {agent_data.request_id}"
            return await super().execute(instance_id, parameters, agent_data=agent_data, **kwargs)

    root = rolled(Counter(), Session("log"))
    made = branch(root, 2)
    assert made.source.extra_fields["session"] != root.extra_fields["session"]
    assert reentry_of(root).states[2].extra_fields["session"] == root.extra_fields["session"]


def test_states_hold_no_tokens_when_the_rollout_has_ended():
    root = rolled(Counter(), Replayed("log"))
    for state in reentry_of(root).states:
        assert state.ids is None and state.mask is None
        fields = sum(sys.getsizeof(value) for value in vars(state).values())
        assert fields < 1500
    assert reentry_of(root).seconds > 0


def test_calls_of_a_turn_are_one_round():
    calls = reentry_of(rolled(Counter(), Replayed("log"))).calls
    assert [(call["turn"], call["tool"]) for call in calls] == [(0, "log"), (0, "count"), (1, "log"), (1, "count")]
