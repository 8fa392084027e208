"""A tool of verl whose environment is a plain class: one environment for each trajectory, which can be restored.

verl creates and releases a tool's instance for every call, so a state that lasts for a trajectory has no place there.
Here the environment is kept on verl's ``agent_data``, and is gone when the trajectory is. It works under verl's own
``tool_agent`` as well. In verl's file of tools (``rollout.multi_turn.tool_config_path``)::

    tools:
      - class_name: verl_gpo.plugin.agents.tool.EnvironmentTool
        config:
          type: native
          environment: my_package.store.Store   # see verl_gpo.agents.Environment
          shared_as: store                      # several tools with this name share one environment; may be left out
        tool_schema: {type: function, function: {name: read, description: ..., parameters: {...}}}

An environment is made at a trajectory's first call, as ``Store(**create_kwargs)``. The arguments are those of the row's
``extra_info.tools_kwargs``, under the name that is shared or else under the tool's own: ``{"store": {"create_kwargs":
{...}}}``.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

from verl.tools.base_tool import BaseTool
from verl.tools.function_tool import normalize_function_tool_return

from ...agents import environment_class, restores

#: The attribute of ``agent_data`` that holds a trajectory's environments, by name.
ENVIRONMENTS = "gpo_environments"


class EnvironmentTool(BaseTool):
    """See the module.

    Raises:
        ValueError: the configuration names no class that can be imported and has ``call``; the message names the tool.
    """

    def __init__(self, config: dict, tool_schema: Any):
        super().__init__(config, tool_schema)
        self._make = environment_class(self.name, config.get("environment"))
        #: Tools that share an environment are restored together.
        self.gpo_shared_as = config.get("shared_as") or self.name
        kind = restores(self._make)
        if kind == "snapshot":
            self.snapshot, self.restore = self._snapshot, self._restore
        elif kind:
            self.gpo_environment = kind

    async def execute(self, instance_id: str, parameters: dict[str, Any], **kwargs: Any) -> tuple[Any, float, dict]:
        answer = self._environment(kwargs["agent_data"]).call(self.name, parameters)
        return normalize_function_tool_return(await answer if inspect.isawaitable(answer) else answer)

    def _environment(self, agent_data: Any) -> Any:
        """The trajectory's environment, made if this is the first call."""
        environments = vars(agent_data).setdefault(ENVIRONMENTS, {})
        if self.gpo_shared_as not in environments:
            named = agent_data.tools_kwargs or {}
            row = named.get(self.gpo_shared_as) or named.get(self.name) or {}
            # A copy, because all rollouts of a prompt get the same row, and an environment may change what it is given.
            environments[self.gpo_shared_as] = self._make(**copy.deepcopy(row.get("create_kwargs") or {}))
        return environments[self.gpo_shared_as]

    async def _snapshot(self, agent_data: Any) -> Any:
        """The environment's state, in a list because the state may be None; None before the first call."""
        environment = vars(agent_data).get(ENVIRONMENTS, {}).get(self.gpo_shared_as)
        if environment is None:
            return None
        state = environment.snapshot()
        return [await state if inspect.isawaitable(state) else state]

    async def _restore(self, agent_data: Any, state: Any) -> None:
        if state is not None:
            done = self._environment(agent_data).restore(*state)
            if inspect.isawaitable(done):
                await done
