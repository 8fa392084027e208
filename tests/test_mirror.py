"""Every module of the package has a test file of its name in the same folder of the tests, and none is too long."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE, TESTS = REPOSITORY / "verl_gpo", REPOSITORY / "tests"
MOST_LINES = 400

#: Modules without a test file of their own, and where they are tested.
EXCEPTIONS = {
    # Commands are tested by what they print and refuse, in files that are named after that.
    "calibrate/__main__": "calibrate/test_command",
    "config/__main__": "config/test_reference",
    "doctor/__main__": "doctor/test_defects",
    "evaluation/__main__": "evaluation/test_evaluate",
    "forecast/__main__": "forecast/test_command",
    "graders/__main__": "graders/test_cases",
    "plan/__main__": "plan/test_main",
    "report/__main__": "report/test_commands",
    # Data without behaviour.
    "doctor/finding": "doctor/test_machine",
}


def has_a_test(file: Path) -> bool:
    """Whether a file has a test function, in a class or not."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") for node in nodes
    )


def mirror(module: str) -> str:
    """The test file of a module, both without their suffix: ``core/group`` to ``core/test_group``."""
    folder, _, name = module.rpartition("/")
    return f"{folder}/test_{name}" if folder else f"test_{name}"


def modules() -> list[str]:
    """All but ``__init__``, which holds names and no code."""
    files = (file.relative_to(PACKAGE).with_suffix("") for file in PACKAGE.rglob("*.py"))
    return sorted(file.as_posix() for file in files if file.name != "__init__")


def test_where_a_module_is_mirrored():
    assert mirror("core/search/view") == "core/search/test_view" and mirror("statistics") == "test_statistics"


@pytest.mark.parametrize("module", modules())
def test_a_module_has_a_test_file_of_its_name(module):
    place = EXCEPTIONS.get(module, mirror(module))
    assert (TESTS / f"{place}.py").is_file(), f"verl_gpo/{module}.py needs tests/{place}.py"


def test_an_exception_is_a_module_that_has_no_file_of_its_name():
    known = set(modules())
    assert {
        module for module in EXCEPTIONS if module not in known or (TESTS / f"{mirror(module)}.py").is_file()
    } == set()


def test_no_test_file_is_too_long():
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in TESTS.rglob("*.py")}
    assert {str(file.relative_to(TESTS)): count for file, count in lines.items() if count > MOST_LINES} == {}


def test_no_test_file_is_without_a_test():
    files = list(TESTS.rglob("test_*.py"))
    assert len(files) > 100  # it did look
    assert [str(file.relative_to(TESTS)) for file in files if not has_a_test(file)] == []


def test_a_file_without_a_test_would_be_found(tmp_path):
    file = tmp_path / "test_x.py"
    for text, expected in (("x = 1", False), ("def help(): ...", False), ("async def test_x(): ...", True)):
        file.write_text(text)
        assert has_a_test(file) is expected
