"""Who asks for the name of a search, or of what is learnt from: the tables, and nobody else."""

import ast

from tests.conftest import REPOSITORY

SETTINGS = {"search", "learn_from"}


def asked(node):
    """Whether a comparison has one of the settings on one side, and a name or names on the other."""
    sides = [node.left, *node.comparators]
    setting = any(isinstance(side, ast.Attribute) and side.attr in SETTINGS for side in sides)
    names = (ast.Constant, ast.Tuple, ast.List, ast.Set)
    return setting and any(isinstance(side, names) for side in sides)


def found(source):
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare) and asked(node)]


def test_no_other_file_decides_by_the_name_of_a_strategy():
    files = [file for folder in ("core", "plugin") for file in (REPOSITORY / "verl_gpo" / folder).rglob("*.py")]
    assert len(files) > 40
    assert {str(file): lines for file in files if (lines := found(file.read_text(encoding="utf-8")))} == {}


def test_it_would_be_found():
    assert found('if config.learn_from == "all":\n    pass') == [1]
    assert found('x = view.config.search in ("uniform", "bisection")') == [1]
    assert found("SEARCHES[config.search]()") == []
