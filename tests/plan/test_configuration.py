"""A recipe is composed as verl would, and what is wrong is said in one line."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.plan.configuration import PlanError, folder_of, load, package_folder

RECIPE = REPOSITORY / "recipes" / "math" / "config"
SETUP = "setup=qwen2_5_0_5b_gsm8k"


def test_it_is_what_verls_entry_point_composes(compose):
    """Found through files here, through packages there."""
    here = load(package_folder("verl_gpo") / "trainer" / "config", "gpo_trainer", ["algorithm.gpo.n_mc=8"])
    there = compose("algorithm.gpo.n_mc=8")
    assert here.config == there


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("algorithm.gpo.n_mcc=8", "algorithm.gpo.n_mcc=8: no such key; did you mean algorithm.gpo.n_mc?"),
        ("trainer.totl_epochs=3", "trainer.totl_epochs=3: no such key; did you mean trainer.total_epochs?"),
        ("actor_rolout_ref.rollout.n=3", "actor_rolout_ref.rollout.n=3: no such key; did you mean actor_rollout_ref?"),
        ("recipe.zzz.y=1", "recipe.zzz.y=1: no such key"),
        ("data.zzz=1", "data.zzz=1: no such key"),
        ("zzz=1", "zzz=1: no such key"),
        ("recipe.steps=${nowhere.x}", "nowhere.x"),
        ("setup=no_such_setup", "Could not find 'setup/no_such_setup'"),
    ],
)
def test_a_typo_is_said_in_one_line(override, said):
    overrides = [override] if override.startswith("setup=") else [SETUP, override]
    with pytest.raises(PlanError) as error:
        load(RECIPE, "math", overrides)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_package_is_a_folder_too():
    assert folder_of("pkg://verl_gpo.trainer.config") == package_folder("verl_gpo") / "trainer" / "config"
    with pytest.raises(PlanError, match="no_such_package is not installed"):
        folder_of("pkg://no_such_package.config")


def test_a_missing_name_lists_those_that_there_are(tmp_path):
    with pytest.raises(PlanError, match="--config-name maths: no maths.yaml in .*; there are math"):
        load(RECIPE, "maths")
    with pytest.raises(PlanError, match="there are none"):
        load(tmp_path, "math")


def test_a_value_that_is_required_is_asked_for():
    with pytest.raises(PlanError, match="setup"):
        load(RECIPE, "math")


@pytest.mark.parametrize("value", [0, "abc", 1.5, True, None])
def test_a_count_has_to_be_one(configured, value):
    found = configured(f"trainer.nnodes={'null' if value is None else value}")
    with pytest.raises(PlanError, match="trainer.nnodes=.*must be an integer of at least 1"):
        found.integer("trainer.nnodes")


def test_nothing_heavy_is_imported():
    """A plan without verl's own checks is a matter of a second or two."""
    program = (
        "import sys; from verl_gpo.plan.__main__ import main;"
        f"code = main(['--quick', '--config-path', {str(RECIPE)!r}, '--config-name', 'math', {SETUP!r}]);"
        "heavy = {'verl', 'ray', 'vllm', 'torch', 'transformers'};"
        "print(code, sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip().splitlines()[-1] == "0 []", result.stderr
