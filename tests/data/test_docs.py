"""What docs/data.md states that the code knows better."""

import contextlib
import re

from tests.conftest import REPOSITORY
from verl_gpo.data import prepare, registry, templates
from verl_gpo.graders import pool
from verl_gpo.graders.score import GRADERS

PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_tables_are_the_generated_ones():
    assert registry.reference_table() in PAGE
    assert templates.reference_table() in PAGE
    assert all(f"| `{name}` | " in PAGE for name in GRADERS)


def test_options_and_limits_are_those_of_the_code(capsys):
    with contextlib.suppress(SystemExit):
        prepare.main(["--help"])
    known = capsys.readouterr().out
    for option in set(re.findall(r"`(--[a-z-]+)", PAGE)):
        assert option in known, option
    assert f"{pool.LIMIT:.0f} CPU seconds" in " ".join(PAGE.split())
