"""A warning is in the log once, whatever the root logger lets through."""

import subprocess
import sys

import pytest

PROGRAM = """
import logging
{root}
from verl_gpo.plugin.observe import messages
messages.install()
messages.install()
logging.getLogger("verl_gpo.plugin.client").warning("a reward failed")
logging.getLogger("verl_gpo.plugin.client").info("not said")
"""


@pytest.mark.parametrize(
    "root",
    [
        "",
        "logging.basicConfig(level=logging.WARNING)",
        "logging.basicConfig(level=logging.ERROR); logging.root.handlers[0].setLevel(logging.ERROR)",
        "logging.basicConfig(level=logging.ERROR)",
    ],
)
def test_a_warning_is_said_once(root):
    said = subprocess.run([sys.executable, "-c", PROGRAM.format(root=root)], capture_output=True, text=True, check=True)
    assert said.stderr.count("a reward failed") == 1 and "not said" not in said.stderr


def test_the_plugin_installs_it():
    import verl  # noqa: F401  (loads the plugin)

    from verl_gpo.plugin.observe.messages import Unheard, logging

    assert [type(handler) for handler in logging.getLogger("verl_gpo").handlers].count(Unheard) == 1
