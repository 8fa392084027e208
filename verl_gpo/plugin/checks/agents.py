"""Settings of agents that cannot work: a loop that nobody registers, and environments that cannot be made."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ...agents import environment_class
from ...config import ConfigError
from .without_effect import MANAGER, MANAGER_KEY, reentry_selected

_ROLLOUT = "actor_rollout_ref.rollout"
LOOP_KEY, TOOLS_KEY = f"{_ROLLOUT}.agent.default_agent_loop", f"{_ROLLOUT}.multi_turn.tool_config_path"
#: The name in :mod:`verl_gpo.plugin.agents.loop`, which is not imported here because it imports much of verl.
LOOP = "gpo_tool_agent"
_TOOL = "verl_gpo.plugin.agents.tool.EnvironmentTool"


def check_agents(config: DictConfig) -> None:
    """Refuse what the rollout workers would fail at, minutes after the start.

    Raises:
        ConfigError: the key, the value, what is allowed.
    """
    if OmegaConf.select(config, LOOP_KEY) == LOOP and not reentry_selected(config):
        raise ConfigError(
            LOOP_KEY, LOOP, f"is known to GPO's rollout workers only: set {MANAGER_KEY}={MANAGER}, or take tool_agent"
        )
    path = OmegaConf.select(config, TOOLS_KEY)
    if not path or not Path(path).is_file():  # verl looks for it in other places, too
        return
    try:
        tools = OmegaConf.load(path).tools or []
    except Exception as error:
        raise ConfigError(TOOLS_KEY, path, f"is no file of tools ({' '.join(str(error).split())})") from error
    for number, tool in enumerate(tools):
        if tool.get("class_name") == _TOOL:
            name = OmegaConf.select(tool, "tool_schema.function.name") or f"number {number}"
            try:
                environment_class(name, OmegaConf.select(tool, "config.environment"))
            except ValueError as error:
                raise ConfigError(TOOLS_KEY, path, str(error)) from error
