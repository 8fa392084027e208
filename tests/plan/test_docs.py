"""What the pages on recipes and configuration state that code, YAML files and installed packages know better."""

import re

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.config.reference import reference_table
from verl_gpo.plan.configuration import package_folder

DOCS = REPOSITORY / "docs"
MATH = REPOSITORY / "recipes" / "math"


def test_the_configuration_reference_is_the_generated_one():
    assert reference_table() in (DOCS / "configuration.md").read_text()


def test_the_recipes_readme_names_every_choice():
    text = (MATH / "README.md").read_text()
    for setup in (MATH / "config" / "setup").glob("*.yaml"):
        default = setup.stem == "qwen2_5_0_5b_gsm8k"
        assert default or f"SETUP={setup.stem}" in text, setup.stem
    for algo in (MATH / "config" / "algo").glob("*.yaml"):
        assert f"`{algo.stem}`" in text, algo.stem
    for script in MATH.glob("*.sh"):
        assert script.name in text, script.name


def _squeezed(text):
    """Without quotes, line breaks and the f-strings' seams, so that a message split over lines is found."""
    return re.sub(r"[\s\"'`]|\bf(?=\")", "", text)


@pytest.mark.parametrize(
    ("package", "file", "message"),
    [
        ("verl_gpo", "config/gpo.py", "no such key; {hint}known are"),
        ("verl_gpo", "plugin/checks/files.py", "no such file or folder"),
        ("verl_gpo", "plugin/checks/validate.py", "rows (anchors x n_reentry) of it are kept for re-entry"),
        ("verl_gpo", "plugin/checks/validate.py", "a colocated reward model cannot score while the policy samples"),
        ("verl_gpo", "plugin/checks/validate.py", "running on the CPU. Settings changed:"),
        ("verl_gpo", "plugin/register.py", "could not be loaded as a verl plugin; GPO is not available"),
        ("verl_gpo", "plugin/client.py", "a continuation was given up: %s"),
        ("verl_gpo", "plugin/worker.py", "its root rollouts are kept"),
        ("verl_gpo", "graders/score.py", "has no grader: known are"),
        ("verl", "trainer/ppo/core_algos.py", "Unknown advantage estimator simply:"),
        ("verl", "workers/config/actor.py", "Please set at least one of actor.ppo_micro_batch_size or"),
        ("verl", "workers/config/actor.py", "must be >="),
        ("verl", "workers/rollout/vllm_rollout/utils.py", "lora_rank must be less than or equal to"),
        ("verl", "workers/rollout/vllm_rollout/vllm_async_server.py", "leaves no room to generate within the"),
        ("verl", "utils/torch_functional.py", "is larger than {max_length=}"),
        ("vllm", "v1/worker/utils.py", "is less than desired GPU memory utilization"),
        ("vllm", "v1/core/kv_cache_utils.py", "To serve at least one request with the model's max seq len"),
        ("vllm", "v1/core/kv_cache_utils.py", "No available memory for the cache blocks."),
        ("transformers", "modeling_utils.py", "has been toggled on, but it cannot be used due to the following error:"),
    ],
)
def test_messages_are_those_of_the_installed_packages(package, file, message):
    source = (package_folder(package) / file).read_text()
    assert _squeezed(message) in _squeezed(source.replace('" f"', "").replace('f"', '"'))
    page = _squeezed((DOCS / "troubleshooting.md").read_text())
    shown = [part for part in re.split(r"\{[^}]*\}|%[rs]", message) if part.strip()]
    assert any(_squeezed(part) in page for part in shown)
