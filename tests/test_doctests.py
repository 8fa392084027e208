"""The examples in docstrings hold."""

import datetime
import doctest
import importlib
from collections import Counter

import pytest

from tests.conftest import REPOSITORY

#: Names that examples use without importing them.
NAMES = {"Counter": Counter, "datetime": datetime.datetime}
FILES = sorted(file for folder in ("verl_gpo", "scripts", "recipes") for file in (REPOSITORY / folder).rglob("*.py"))
MODULES = [
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
    for file in FILES
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    failed, tried = doctest.testmod(importlib.import_module(module), extraglobs=NAMES)
    assert tried and not failed


def test_there_are_examples():
    assert {"verl_gpo.graders.score", "verl_gpo.traces.step_line", "scripts.experiments.settings"} <= set(MODULES)
