"""Tools without verl: environments of verl's YAML, function tools of a file, and what is refused."""

import asyncio
import json

import pytest
import yaml

from recipes.agents.task import Walk
from tests.conftest import REPOSITORY
from verl_gpo.inference.tools import ENVIRONMENT_TOOL, Toolbox, read_tools

RECIPE = REPOSITORY / "recipes" / "agents"
GIVEN = {"walk": {"create_kwargs": {"building": 78749, "signs": "!-"}}}


class Stateless:
    gpo_environment = "stateless"

    def call(self, tool, parameters):
        return {"tool": tool, **parameters}, 0.5


class Forgetful:
    def call(self, tool, parameters):
        return "never the same"


def entry(environment, name="walk", class_name=ENVIRONMENT_TOOL, **config):
    schema = {"type": "function", "function": {"name": name, "description": "d", "parameters": {}}}
    return {"class_name": class_name, "config": {"environment": environment, **config}, "tool_schema": schema}


def written(tmp_path, *entries):
    file = tmp_path / "tools.yaml"
    file.write_text(yaml.safe_dump({"tools": list(entries)}))
    return str(file)


def test_the_recipes_tools_are_read_without_verls_classes():
    pytest.importorskip("verl")
    toolbox = read_tools(str(RECIPE / "config" / "tools.yaml"), str(RECIPE / "calculator.py"))
    assert toolbox.environments == {"walk": ("walk", Walk)} and list(toolbox.functions) == ["add"]
    assert [one["function"]["name"] for one in toolbox.schemas] == ["walk", "add"]

    async def talk():
        session = toolbox.start(GIVEN)
        right = Walk(78749, "!-").room.right_door
        first = await session.call("walk", json.dumps({"door": right}))
        assert first == Walk(78749, "!-").call("walk", {"door": right})
        kept = session.snapshot()
        second = await session.call("walk", '{"door": "a"}')
        other = toolbox.start(GIVEN)
        other.restore(kept)
        assert await other.call("walk", '{"door": "a"}') == second != await other.call("walk", '{"door": "a"}')
        assert await session.call("add", '{"a": 2, "b": 40}') == "42"

    asyncio.run(talk())


def test_what_a_policy_gets_wrong_is_an_answer():
    def broken(a):
        raise RuntimeError("out of order")

    session = Toolbox({}, {"broken": broken}, []).start(None)
    answers = {
        ("nothing", "{}"): "there is no tool 'nothing'",
        ("broken", '{"a": 1}'): "the tool 'broken' failed: out of order",
    }
    for call, answer in answers.items():
        assert asyncio.run(session.call(*call)) == answer
    for arguments in ("[1]", "{", '{"b": 1}', "null"):
        assert asyncio.run(session.call("broken", arguments)).startswith("the tool 'broken' failed: ")


def test_an_answer_may_be_a_mapping_with_a_reward_and_stateless_tools_have_no_state(tmp_path):
    toolbox = read_tools(written(tmp_path, entry(f"{__name__}.Stateless", shared_as="both")), None)
    session = toolbox.start(None)
    assert asyncio.run(session.call("walk", '{"x": 1}')) == '{"tool": "walk", "x": 1}'
    assert session.snapshot() == {} and toolbox.environments["walk"] == ("both", Stateless)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("recipes.agents.task.Walk", class_name="my.Tool")], "class_name=my.Tool: must be verl_gpo.plugin"),
        ([entry("recipes.agents.task.Wall")], "a tool without a schema or an environment"),
        ([entry("Walk")], "a tool without a schema or an environment"),
        ([entry(f"{__name__}.Forgetful")], "must have snapshot and restore, or be stateless"),
        ([entry("recipes.agents.task.Walk")] * 2, "two tools are called 'walk'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, entries, message):
    with pytest.raises(ValueError, match=message):
        read_tools(written(tmp_path, *entries), None)


def test_files_that_are_no_tool_files_are_refused(tmp_path):
    plain = tmp_path / "plain.py"
    plain.write_text("def add(a, b):\n    return a + b\n")
    with pytest.raises(ValueError, match="no function is decorated"):
        read_tools(None, str(plain))
    with pytest.raises(ValueError, match="function_tools='nowhere.py': no such file"):
        read_tools(None, "nowhere.py")
    for config in (str(plain), str(tmp_path / "nowhere.yaml")):
        with pytest.raises(ValueError, match="tools=.*: not a tool file of verl's"):
            read_tools(config, None)
