"""How tools are restored: what they say, what is copied, and what is said of those that cannot be."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import ToolResponse

from tests.plugin.agents.world import ECHO, Counter, Keeper, Ledger, Replayed, schema
from verl_gpo.plugin.agents import restore


def declared_function(kind):
    def pay():
        return "paid"

    pay.gpo_environment = kind
    return FunctionTool("pay", pay, schema("pay"))


@pytest.mark.parametrize(
    ("tool", "how", "restorable"),
    [
        (ECHO, "stateless", True),  # verl's function tools are, by definition
        (declared_function("side_effects"), "side_effects", False),
        (declared_function("replay"), "replay", True),
        (Counter(), "snapshot", True),
        (Replayed(), "replay", True),
        (Ledger(), "side_effects", False),
        (Keeper(), "", False),
    ],
)
def test_how(tool, how, restorable):
    assert restore.how(tool) == how
    assert (restore.unrestorable({"x": tool}) == {}) is restorable


def test_one_line_names_the_tools_that_keep_prompts_from_being_searched(caplog):
    with caplog.at_level(logging.WARNING):
        restore.report([ECHO, Counter(), Replayed("log")])
        assert caplog.text == ""
        restore.report([ECHO, Keeper("shell"), Ledger("pay")])
    (line,) = caplog.messages
    assert "shell (tests.plugin.agents.world.Keeper) does not say how" in line
    assert "pay (tests.plugin.agents.world.Ledger) has side effects and no snapshot" in line
    assert "snapshot(agent_data)" in line and "gpo_environment" in line and "echo" not in line and "\n" not in line


class Live:
    """Gives its live state away, and keeps what it is given; one method is a coroutine."""

    def __init__(self):
        self.state = {"items": [1]}

    async def snapshot(self, agent_data):
        return self.state

    def restore(self, agent_data, state):
        self.state = state


def test_a_state_is_copied_when_it_is_taken_and_when_it_is_put_back():
    tool, data = Live(), SimpleNamespace()
    taken = asyncio.run(restore.take({"live": tool}, None, data))
    tool.state["items"].append(2)
    assert taken == {"live": {"items": [1]}}
    asyncio.run(restore.put_back({"live": tool}, None, data, taken))
    tool.state["items"].append(3)
    assert tool.state == {"items": [1, 3]} and taken == {"live": {"items": [1]}}


def test_tools_that_share_an_environment_are_taken_once_and_a_loop_may_have_a_state_too():
    one, two, loop = Live(), Live(), Live()
    one.gpo_shared_as = two.gpo_shared_as = "files"
    taken = asyncio.run(restore.take({"read": one, "write": two, "echo": ECHO}, loop, None))
    assert set(taken) == {"files", "the loop itself"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("a", 1.0), ("a", 1.0), True),
        (("a", 1.0), ("b", 1.0), False),
        (("a", 1.0), ("a", 0.5), False),
    ],
)
def test_what_counts_as_the_same_answer(one, other, same):
    answers = [(ToolResponse(text=text), reward, {}) for text, reward in (one, other)]
    assert restore.same_answer(*answers) is same
