"""How tools and their environments are brought back to an earlier state of a trajectory."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from verl.tools.function_tool import FunctionTool

from ...agents import REPLAY, SIDE_EFFECTS, STATELESS, restores

logger = logging.getLogger(__name__)

#: It has the methods ``snapshot`` and ``restore``.
SNAPSHOT = "snapshot"
__all__ = ["REPLAY", "SNAPSHOT", "ReplayError", "how", "put_back", "report", "same_answer", "take", "unrestorable"]


class ReplayError(RuntimeError):
    """A call that was executed again was answered differently."""


def how(tool: Any) -> str:
    """How a tool of verl is restored: :data:`SNAPSHOT`, or what it declares; ``""`` if it says nothing.

    verl's function tools have no state by definition, so they need not declare anything.
    """
    if isinstance(tool, FunctionTool):
        return restores(tool.fn) or STATELESS
    return restores(tool)


def unrestorable(tools: Mapping[str, Any]) -> dict[str, str]:
    """Tool name -> why it cannot be restored; only those that cannot."""
    reasons = {}
    for name, tool in tools.items():
        kind = how(tool)
        if kind in ("", SIDE_EFFECTS):
            made = type(tool)
            where = f"{name} ({made.__module__}.{made.__qualname__})"
            reasons[name] = f"{where} has side effects and no snapshot" if kind else f"{where} does not say how"
    return reasons


def report(tools: Iterable[Any]) -> None:
    """Say once, in one line, which tools keep prompts from being searched."""
    reasons = unrestorable({tool.name: tool for tool in tools})
    if reasons:
        logger.warning(
            "verl_gpo: prompts of gpo_tool_agent that may call one of these tools keep their root rollouts and are not "
            "searched, because the tool cannot be restored: %s. It can if it has snapshot(agent_data) and "
            "restore(agent_data, state), or declares gpo_environment (verl_gpo/agents/environment.py)",
            "; ".join(reasons.values()),
        )


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _with_snapshots(tools: Mapping[str, Any], loop: Any) -> dict[str, Any]:
    """What is restored by a snapshot, by name. Tools that share an environment (``gpo_shared_as``) count once."""
    found = {getattr(tool, "gpo_shared_as", name): tool for name, tool in tools.items() if how(tool) == SNAPSHOT}
    if restores(loop) == SNAPSHOT:
        found["the loop itself"] = loop
    return found


async def take(tools: Mapping[str, Any], loop: Any, agent_data: Any) -> dict[str, Any]:
    """The states of all environments of a trajectory that are restored by a snapshot, copied."""
    return {
        name: copy.deepcopy(await _result(tool.snapshot(agent_data)))
        for name, tool in _with_snapshots(tools, loop).items()
    }


async def put_back(tools: Mapping[str, Any], loop: Any, agent_data: Any, states: Mapping[str, Any]) -> None:
    """Give a new trajectory environments in these states. Each gets a copy of its own."""
    for name, tool in _with_snapshots(tools, loop).items():
        await _result(tool.restore(agent_data, copy.deepcopy(states[name])))


def same_answer(one: tuple[Any, Any, Any], other: tuple[Any, Any, Any]) -> bool:
    """Whether two answers of a tool are the same: text, reward, and number of images."""
    (before, reward, _), (after, again, _) = one, other
    images = [len(response.image or ()) for response in (before, after)]
    return before.text == after.text and reward == again and images[0] == images[1]
