"""The agents recipe: the arithmetic one's script with tools, and the control that peers use."""

import json

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.recipes.conftest import composed
from verl_gpo.plugin.checks.validate import check
from verl_gpo.plugin.checks.without_effect import reentry_selected

RECIPE = REPOSITORY / "recipes" / "agents"
SCRIPT = RECIPE / "run.sh"


@pytest.mark.parametrize(
    ("method", "search", "enabled"),
    [
        ("gpo", "adaptive", True),
        ("random", "random", True),
        ("tool_entropy", "tool_entropy", True),
        ("plain", "uniform", False),
    ],
)
def test_each_method_composes(arguments_of, tmp_path, method, search, enabled):
    data = tmp_path / "a folder"
    result, arguments = arguments_of(
        SCRIPT, "trainer.total_training_steps=3", METHOD=method, PRESET="fast", DATA_DIR=str(data)
    )
    assert result.returncode == 0, result.stderr
    prepared = json.loads((tmp_path / "prepare.json").read_text())
    assert prepared == ["-m", "recipes.agents.prepare", "--agent", "gpo_tool_agent", "--out", str(data)]
    config = composed(arguments)
    gpo = check(config)
    assert (gpo.search, gpo.enable) == (search, enabled) and reentry_selected(config)
    assert not enabled or gpo.splitter == "turn"
    turns = config.actor_rollout_ref.rollout.multi_turn
    assert (turns.enable, turns.format, turns.max_assistant_turns) == (True, "hermes", 12)
    assert turns.tool_config_path == str(RECIPE / "config" / "tools.yaml")
    assert turns.function_tool_path == str(RECIPE / "calculator.py")
    assert config.reward.custom_reward_function.path == str(RECIPE / "reward.py")
    assert config.trainer.experiment_name == f"agents_grpo_{method}"
    assert config.trainer.total_training_steps == 3  # what stands at the end wins
    lengths = config.data.max_prompt_length + config.data.max_response_length
    assert lengths == config.actor_rollout_ref.rollout.max_model_len == 32 + 192


def test_the_tools_are_what_verl_takes():
    pytest.importorskip("verl")
    from verl.tools.schemas import OpenAIFunctionToolSchema

    (tool,) = yaml.safe_load((RECIPE / "config" / "tools.yaml").read_text())["tools"]
    schema = OpenAIFunctionToolSchema.model_validate(tool["tool_schema"])
    assert schema.function.name == "walk" and tool["config"]["environment"] == "recipes.agents.task.Walk"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"METHOD": "entropy"}, "METHOD=entropy: must be one of gpo random tool_entropy plain"),
        ({"AGENT": "my_agent"}, "AGENT=my_agent: must be one of gpo_tool_agent tool_agent"),
        ({"ALGO": "pppo"}, "ALGO=pppo: must be one of"),
        ({"RESPONSE_LENGTH": "long"}, "RESPONSE_LENGTH=long: must be an integer of at least 1"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(arguments_of, environment, message):
    result, arguments = arguments_of(SCRIPT, **environment)
    assert result.returncode == 2 and arguments is None
    assert message in result.stderr
