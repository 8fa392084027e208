"""A tool whose environment is a plain class: one for each trajectory, shared by tools, restored with it."""

import json
from types import SimpleNamespace

import pytest
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop

from tests.plugin.agents.world import PROMPT, TOKENIZER, Policy, go, loop, sampler, schema
from verl_gpo.plugin.agents import restore
from verl_gpo.plugin.agents.loop import ReenterableToolLoop
from verl_gpo.plugin.agents.output import KEEP_STATES, reentry_of
from verl_gpo.plugin.agents.tool import EnvironmentTool

HERE = "tests.plugin.agents.test_tool"


class Store:
    """Keys and values; ``write`` and ``read`` are tools of it."""

    made = 0

    def __init__(self, **values):
        type(self).made += 1
        self.values = values

    def call(self, tool, parameters):
        if tool == "write":
            self.values[parameters["key"]] = parameters["value"]
            return "ok", 0.5
        return {"value": self.values.get(parameters["key"])}

    def snapshot(self):
        return self.values

    def restore(self, state):
        self.values = state


class Dice:
    gpo_environment = "stateless"

    async def call(self, tool, parameters):
        return "4"


class Silent:
    def call(self, tool, parameters):
        return "x"


def tool(name, environment="Store", shared_as="store"):
    config = {"type": "native", "environment": f"{HERE}.{environment}", "shared_as": shared_as}
    return EnvironmentTool(config, schema(name))


def call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def dialogue(head):
    steps = [call("write", key="a", value=1), call("write", key="b", value=2), call("read", key="b"), "end"]
    return steps[head.count("[tool]")]


ROW = {"store": {"create_kwargs": {"a": 0, "z": 9}}}


async def rolled(made, policy=dialogue, tools=None):
    agent = loop(Policy(answer=policy), tools or [tool("write"), tool("read")], made)
    KEEP_STATES.set(True)
    return await agent.run({}, raw_prompt=PROMPT, tools_kwargs=ROW)


def test_tools_share_the_environment_of_their_trajectory_under_verls_loop_too():
    Store.made = 0
    outputs = [go(rolled(made)) for made in (ToolAgentLoop, ReenterableToolLoop)]
    assert outputs[0].response_ids == outputs[1].response_ids and Store.made == 2
    assert outputs[0].extra_fields["tool_rewards"] == [0.5, 0.5, 0.0]
    states = reentry_of(outputs[1]).states
    assert [state.environments["store"] for state in states] == [
        None,
        [{"a": 1, "z": 9}],
        [{"a": 1, "z": 9, "b": 2}],
        [{"a": 1, "z": 9, "b": 2}],
    ]


def test_what_a_row_gives_is_not_changed_by_a_trajectory():
    class Adds:
        def __init__(self, items):
            self.items = items

        def call(self, tool, parameters):
            self.items.append(1)
            return str(len(self.items))

    row, made = {"adds": {"create_kwargs": {"items": []}}}, tool("adds", shared_as=None)
    made._make = Adds
    for _ in range(2):
        data = SimpleNamespace(tools_kwargs=row)
        response, _, _ = go(made.execute("i", {}, agent_data=data))
        assert response.text == "1"
    assert row["adds"]["create_kwargs"] == {"items": []}


def test_a_continuation_gets_the_state_and_not_another_trajectorys():
    root = go(rolled(ReenterableToolLoop))
    state = reentry_of(root).states[1]

    def other(head):
        return [None, call("read", key="b"), call("read", key="z"), "end"][head.count("[tool]")]

    made = sampler(Policy(answer=other), root)
    got = go(made.sample(tuple(root.response_ids[: state.tokens]), 300, 0))
    answers = [call["answer"] for call in reentry_of(root).calls]
    assert answers == ["ok", "ok", '{"value": 2}']
    text = TOKENIZER.decode(list(got.token_ids))
    assert '[tool]{"value": null}' in text and '[tool]{"value": 9}' in text
    assert state.environments["store"] == [{"a": 1, "z": 9}]


@pytest.mark.parametrize(("environment", "how"), [("Store", "snapshot"), ("Dice", "stateless"), ("Silent", "")])
def test_it_is_restored_as_its_environment_says(environment, how):
    assert restore.how(tool("t", environment)) == how


def test_an_environment_may_answer_in_a_coroutine():
    def ask(head):
        return "end" if "[tool]" in head else call("roll")

    output = go(rolled(ToolAgentLoop, ask, [tool("roll", "Dice", "dice")]))
    assert "[tool]4|" in TOKENIZER.decode(output.response_ids)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (None, "tool t: config.environment=None: must be the dotted path of a class with a method call"),
        ("Store", "tool t: config.environment='Store': must be the dotted path"),
        ("no.such.Module", r"tool t: config.environment='no.such.Module': cannot be imported \(No module named 'no'\)"),
        (f"{HERE}.Nothing", f"tool t: config.environment='{HERE}.Nothing': cannot be imported"),
        (f"{HERE}.HERE", "must be the dotted path of a class with a method call"),
    ],
)
def test_a_wrong_path_names_the_tool_and_what_is_allowed(path, reason):
    with pytest.raises(ValueError, match=reason):
        EnvironmentTool({"type": "native", "environment": path}, schema("t"))
