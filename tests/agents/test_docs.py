"""The smallest complete example of ``docs/agents.md``, as it stands there, runs."""

import asyncio
import json
import re
import sys

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.agents import restores
from verl_gpo.inference.tools import read_tools

TEXT = (REPOSITORY / "docs" / "agents.md").read_text(encoding="utf-8")


def block(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The page's files in a folder from which modules are imported; gives the tool file and the row."""
    (tmp_path / "store.py").write_text(block("python"))
    (tmp_path / "tools.yaml").write_text(block("yaml"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "store", raising=False)
    yield tmp_path / "tools.yaml", json.loads(block("json"))
    sys.modules.pop("store", None)


def test_it_is_restored(example):
    tools, row = example
    session = read_tools(str(tools), None).start(row["extra_info"]["tools_kwargs"])

    async def talk():
        state = session.snapshot()
        assert state == {}  # nothing was called yet
        first = await session.call("read", '{"key": "b"}')
        kept = session.snapshot()
        again = [await session.call("read", '{"key": "a"}') for _ in range(2)]
        session.restore(kept)
        return [first, *again, await session.call("read", '{"key": "a"}')]

    assert asyncio.run(talk()) == ["9", row["reward_model"]["ground_truth"], "nothing there", "7"]
    assert restores(sys.modules["store"].Store) == "snapshot"


def test_verl_makes_the_tool_and_the_row_fits_it(example):
    registry = pytest.importorskip("verl.tools.tool_registry")
    tools, row = example
    (tool,) = registry.initialize_tools_from_config(str(tools))
    assert tool.name == "read" and set(row["extra_info"]["tools_kwargs"]) == {tool.name}

    class AgentData:
        tools_kwargs = row["extra_info"]["tools_kwargs"]
        extra_fields: dict = {}

    async def talk(data, key):
        given = data.tools_kwargs["read"]
        instance, _ = await tool.create(create_kwargs=given["create_kwargs"])
        answer, _, _ = await tool.execute(instance, {"key": key}, agent_data=data)
        await tool.release(instance)
        return answer.text

    async def all_of_it():
        one, other = AgentData(), AgentData()
        before = [await talk(one, "a"), await talk(one, "a"), await talk(other, "a")]
        restored = AgentData()
        await tool.restore(restored, await tool.snapshot(other))
        return [*before, await talk(restored, "b"), await talk(restored, "a")]

    assert asyncio.run(all_of_it()) == ["7", "nothing there", "7", "9", "nothing there"]
