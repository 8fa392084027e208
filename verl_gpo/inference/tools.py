"""The tools of a conversation without verl: environments of verl's tool YAML, and files of function tools.

A file of function tools imports verl itself (``@function_tool``); nothing here does.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..agents import STATELESS, restores

#: The tool of verl's YAML that holds an environment (:class:`verl_gpo.agents.Environment`).
ENVIRONMENT_TOOL = "verl_gpo.plugin.agents.tool.EnvironmentTool"
#: verl's module of function tools, which knows those of a file once the file has been executed.
_FUNCTION_TOOLS = "verl.tools.function_tool"


@dataclass(frozen=True)
class Toolbox:
    """The tools that a policy may call.

    Attributes:
        environments: tool name -> (name of the environment that it belongs to, the environment's class).
        functions: tool name -> a stateless function of the call's arguments.
        schemas: of all tools, as chat templates print them.
    """

    environments: dict[str, tuple[str, Callable[..., Any]]] = field(default_factory=dict)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    schemas: list[dict[str, Any]] = field(default_factory=list)

    def start(self, tools_kwargs: Mapping[str, Any] | None) -> Session:
        """The tools of one conversation.

        Args:
            tools_kwargs: the row's ``extra_info.tools_kwargs``.
        """
        return Session(self, dict(tools_kwargs or {}))


class Session:
    """The tools of one conversation, with the state of its environments."""

    def __init__(self, toolbox: Toolbox, tools_kwargs: dict[str, Any]):
        self._toolbox, self._tools_kwargs = toolbox, tools_kwargs
        self._environments: dict[str, Any] = {}

    def _environment(self, name: str, kind: Callable[..., Any]) -> Any:
        if name not in self._environments:
            given = (self._tools_kwargs.get(name) or {}).get("create_kwargs") or {}
            self._environments[name] = kind(**given)
        return self._environments[name]

    async def call(self, name: str, arguments: str) -> str:
        """What the policy is answered; never raises for what a policy wrote or a tool did."""
        if name not in self._toolbox.functions and name not in self._toolbox.environments:
            return f"there is no tool {name!r}"
        try:
            parameters = json.loads(arguments)
            if name in self._toolbox.functions:
                answer = self._toolbox.functions[name](**parameters)
            else:
                answer = self._environment(*self._toolbox.environments[name]).call(name, parameters)
            answer = await answer if inspect.isawaitable(answer) else answer
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a tool may raise anything, and the policy is told
            return f"the tool {name!r} failed: {error}"
        said = answer[0] if isinstance(answer, tuple) else answer
        return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)

    def snapshot(self) -> dict[str, Any]:
        """The states of the environments that were called."""
        kept = {name: one for name, one in self._environments.items() if restores(one) != STATELESS}
        return {name: one.snapshot() for name, one in kept.items()}

    def restore(self, states: Mapping[str, Any]) -> None:
        """Give the environments these states."""
        kinds = dict(self._toolbox.environments.values())
        for name, state in states.items():
            self._environment(name, kinds[name]).restore(state)


def read_tools(config: str | None, functions: str | None) -> Toolbox:
    """The tools of verl's ``tool_config_path`` and ``function_tool_path``.

    Raises:
        ValueError: a file that cannot be read, a tool that is no environment, an environment that cannot be restored,
            or one name for two tools.
    """
    toolbox = Toolbox()
    if config is not None:
        _read_environments(config, toolbox)
    if functions is not None:
        _read_functions(functions, toolbox)
    return toolbox


def _read_environments(path: str, toolbox: Toolbox) -> None:
    import yaml

    where = f"tools={path!r}"
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["tools"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: not a tool file of verl's ({' '.join(str(error).split())})") from error
    for entry in entries:
        if entry.get("class_name") != ENVIRONMENT_TOOL:
            raise ValueError(f"{where}: class_name={entry.get('class_name')}: must be {ENVIRONMENT_TOOL} here")
        try:
            schema, settings = entry["tool_schema"], entry["config"]
            name, dotted = schema["function"]["name"], settings["environment"]
            module, _, attribute = dotted.rpartition(".")
            kind = getattr(importlib.import_module(module), attribute)
        except (KeyError, TypeError, ValueError, ImportError, AttributeError) as error:
            raise ValueError(f"{where}: a tool without a schema or an environment ({error!r})") from error
        if restores(kind) not in ("snapshot", STATELESS):
            raise ValueError(f"{where}: environment={dotted}: must have snapshot and restore, or be stateless")
        _add(toolbox, where, name, schema)
        toolbox.environments[name] = (settings.get("shared_as") or name, kind)


def _read_functions(path: str, toolbox: Toolbox) -> None:
    where = f"function_tools={path!r}"
    if not Path(path).is_file():
        raise ValueError(f"{where}: no such file")
    module = "_function_tools" + re.sub(r"\W", "_", str(Path(path).resolve()))
    if module not in sys.modules:  # verl's registry refuses to take a tool twice
        spec = importlib.util.spec_from_file_location(module, path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)
    registry = getattr(sys.modules.get(_FUNCTION_TOOLS), "FUNCTION_TOOL_REGISTRY", {})
    found = {name: tool for name, tool in registry.items() if tool.fn.__module__ == module}
    if not found:
        raise ValueError(f"{where}: no function is decorated with verl's @function_tool")
    for name, tool in found.items():
        _add(toolbox, where, name, tool.tool_schema.model_dump(exclude_unset=True, exclude_none=True))
        toolbox.functions[name] = tool.fn


def _add(toolbox: Toolbox, where: str, name: str, schema: dict[str, Any]) -> None:
    if any(one["function"]["name"] == name for one in toolbox.schemas):
        raise ValueError(f"{where}: two tools are called {name!r}")
    toolbox.schemas.append(schema)
