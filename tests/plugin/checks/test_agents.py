"""Agents that cannot work are refused in the driver, in one line."""

import pytest

from verl_gpo.config import ConfigError
from verl_gpo.plugin.agents import loop
from verl_gpo.plugin.agents.tool import EnvironmentTool
from verl_gpo.plugin.checks import agents
from verl_gpo.plugin.checks.without_effect import MANAGER_KEY

HERE = "tests.plugin.checks.test_agents"


class Store:
    def call(self, tool, parameters):
        return "x"


class Misspelt(Store):
    gpo_environment = "replays"


def test_the_names_are_those_of_the_classes():
    assert agents.LOOP == loop.NAME
    assert f"{EnvironmentTool.__module__}.{EnvironmentTool.__qualname__}" == agents._TOOL


def test_the_loop_needs_the_workers_that_register_it(compose, run_overrides):
    asked = [*run_overrides, f"{agents.LOOP_KEY}=gpo_tool_agent"]
    agents.check_agents(compose(*asked))
    with pytest.raises(ConfigError, match=r"default_agent_loop='gpo_tool_agent': is known to GPO's rollout workers"):
        agents.check_agents(compose(*asked, f"{MANAGER_KEY}=null"))


def tools(tmp_path, environment):
    file = tmp_path / "tools.yaml"
    file.write_text(
        f"""
tools:
  - class_name: verl_gpo.plugin.agents.tool.EnvironmentTool
    config: {{type: native, environment: {environment}}}
    tool_schema: {{type: function, function: {{name: read, description: x, parameters: {{}}}}}}
  - class_name: somewhere.else.Tool
    config: {{type: native}}
"""
    )
    return f"{agents.TOOLS_KEY}={file}"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ("null", "tool read: config.environment=None: must be the dotted path of a class with a method call"),
        ("no_such.Store", "tool read: config.environment='no_such.Store': cannot be imported"),
        (f"{HERE}.Misspelt", "gpo_environment='replays'.*must be one of stateless, replay, side_effects"),
    ],
)
def test_an_environment_that_cannot_be_made(compose, run_overrides, tmp_path, environment, reason):
    with pytest.raises(ConfigError, match=f"tool_config_path=.*: {reason}"):
        agents.check_agents(compose(*run_overrides, tools(tmp_path, environment)))


def test_an_environment_that_can(compose, run_overrides, tmp_path):
    agents.check_agents(compose(*run_overrides, tools(tmp_path, f"{HERE}.Store")))


def test_a_file_that_holds_no_tools(compose, run_overrides, tmp_path):
    (tmp_path / "tools.yaml").write_text("other: 1")
    with pytest.raises(ConfigError, match="tool_config_path=.*: is no file of tools"):
        agents.check_agents(compose(*run_overrides, f"{agents.TOOLS_KEY}={tmp_path}/tools.yaml"))
