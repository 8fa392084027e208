"""What a tool says about its restoration, and that the declaration needs neither verl nor the rest of the package."""

import subprocess
import sys

import pytest

from verl_gpo.agents import KINDS, RestorableTool, restores


class Silent:
    def call(self, tool, parameters):
        return "x"


class Snapshots(Silent):
    def snapshot(self):
        return 1

    def restore(self, state): ...


def declared(kind, base=Silent):
    return type("Declared", (base,), {"gpo_environment": kind})


@pytest.mark.parametrize(
    ("tool", "how"),
    [
        (Silent, ""),
        (Silent(), ""),
        (Snapshots, "snapshot"),
        (Snapshots(), "snapshot"),
        *[(declared(kind), kind) for kind in KINDS],
        # A snapshot restores a tool with side effects, too: nothing is executed again.
        (declared("side_effects", Snapshots)(), "snapshot"),
        (type("Half", (Silent,), {"snapshot": lambda self: 1}), ""),
    ],
)
def test_what_a_tool_says(tool, how):
    assert restores(tool) == how


def test_a_misspelt_declaration_names_itself_and_what_is_allowed():
    with pytest.raises(ValueError, match=r"gpo_environment='stateles'.*must be one of stateless, replay, side_effects"):
        restores(declared("stateles"))


def test_the_protocol_of_tools():
    assert isinstance(Snapshots(), RestorableTool) and not isinstance(Silent(), RestorableTool)


def test_a_users_file_of_tools_needs_neither_verl_nor_torch():
    program = (
        "import sys, verl_gpo.agents\n"
        "heavy = {'verl', 'ray', 'torch', 'numpy', 'transformers'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}),"
        " sorted(name for name in sys.modules if name.startswith('verl_gpo.')))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "[] ['verl_gpo.agents', 'verl_gpo.agents.environment']", result.stderr
