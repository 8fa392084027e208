"""How the environment of a trajectory is brought back to an earlier state.

One tool object of verl serves all trajectories of a worker. What belongs to one trajectory is found through verl's
``agent_data``, which a tool gets with each call. A tool says in one of three ways how it is restored:

- it has the methods of :class:`RestorableTool`;
- its class attribute ``gpo_environment`` is :data:`STATELESS`: it keeps nothing between calls;
- its class attribute ``gpo_environment`` is :data:`REPLAY`: the calls that the trajectory made are executed once more,
  and the answers have to be the same. What such a tool puts into ``agent_data.extra_fields``, say a handle of its
  session, is put there anew, so no other tool may write to the same keys.

:data:`SIDE_EFFECTS` says that a call changes something outside of the trajectory (it sends a message, it pays). Such a
tool is never replayed.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, runtime_checkable

#: Keeps nothing between calls: nothing has to be restored.
STATELESS = "stateless"
#: Its recorded calls are executed again.
REPLAY = "replay"
#: A call changes something outside of the trajectory, so no call is ever executed again.
SIDE_EFFECTS = "side_effects"
#: What ``gpo_environment`` may be.
KINDS = (STATELESS, REPLAY, SIDE_EFFECTS)


@runtime_checkable
class RestorableTool(Protocol):
    """A tool, or an agent loop, that can bring the environment of one trajectory back to an earlier state.

    Both methods may be coroutines. A state is copied with :func:`copy.deepcopy` when it is taken and each time before
    it is restored, so a method may return or keep what it is given. A state that must not be copied defines
    ``__deepcopy__``.
    """

    def snapshot(self, agent_data: Any) -> Any:
        """The state of this trajectory's environment now; None before its first call."""
        ...

    def restore(self, agent_data: Any, state: Any) -> None:
        """Give a new trajectory, which is described by ``agent_data``, an environment in this state."""
        ...


class Environment(Protocol):
    """The environment of one trajectory, for :class:`verl_gpo.plugin.agents.tool.EnvironmentTool`.

    A plain class, which needs nothing of verl. It may leave out ``snapshot`` and ``restore`` and set the class
    attribute ``gpo_environment`` instead.

    >>> class Counter:
    ...     def __init__(self, start=0):
    ...         self.value = start
    ...     def call(self, tool, parameters):
    ...         self.value += parameters["by"]
    ...         return str(self.value)
    ...     def snapshot(self):
    ...         return self.value
    ...     def restore(self, state):
    ...         self.value = state
    """

    def call(self, tool: str, parameters: dict[str, Any]) -> Any:
        """Execute a call; may be a coroutine.

        Args:
            tool: the tool's name, because several tools may share one environment.
            parameters: the arguments that the policy wrote, parsed.

        Returns:
            What a function tool of verl may return: the answer, or ``(answer, reward)``, or
            ``(answer, reward, metrics)``; an answer is a text, a mapping, or verl's ``ToolResponse``.
        """
        ...

    def snapshot(self) -> Any:
        """The state now."""
        ...

    def restore(self, state: Any) -> None:
        """Go to this state."""
        ...


def restores(tool: Any) -> str:
    """How a tool is restored: ``snapshot``, one of :data:`KINDS`, or ``""`` if it says nothing.

    Args:
        tool: a tool, an environment, or a class of one.

    Raises:
        ValueError: ``gpo_environment`` is none of :data:`KINDS`.
    """
    kind = getattr(tool, "gpo_environment", "")
    if kind and kind not in KINDS:
        raise ValueError(f"gpo_environment={kind!r} of {tool!r}: must be one of {', '.join(KINDS)}")
    if callable(getattr(tool, "snapshot", None)) and callable(getattr(tool, "restore", None)):
        return "snapshot"
    return kind


def environment_class(tool: str, path: Any) -> type:
    """The class of a tool's environment.

    Args:
        tool: the tool's name, for errors.
        path: the dotted path of the class.

    Raises:
        ValueError: there is no such class, it has no ``call``, or what it declares is wrong.
    """
    module, _, name = str(path or "").rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name) if module else None
    except (ImportError, AttributeError) as error:
        raise ValueError(f"tool {tool}: config.environment={path!r}: cannot be imported ({error})") from error
    if not callable(getattr(made, "call", None)):
        raise ValueError(
            f"tool {tool}: config.environment={path!r}: must be the dotted path of a class with a method call"
        )
    restores(made)
    return made
