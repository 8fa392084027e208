"""Who may import whom, computed from the source, and that ``core`` pulls in no framework, proven in a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "verl_gpo"
#: Folders of the package that may import a framework; everything else reaches it through them.
MAY_IMPORT = {"verl": {"plugin", "cpu"}, "ray": {"plugin", "cpu"}, "transfer_queue": {"plugin", "cpu"}}
#: Files that verl loads by their path: a function tool is declared by verl's own decorator.
LOADED_BY_VERL = {"recipes.agents.calculator"}
#: What ``core`` may import of the package.
CORE_MAY_IMPORT = {"core", "config", "statistics"}

PROGRAM = """
import importlib, pkgutil, sys
import verl_gpo, verl_gpo.config, verl_gpo.core
for module in pkgutil.walk_packages(verl_gpo.core.__path__, "verl_gpo.core."):
    importlib.import_module(module.name)
frameworks = {"verl", "ray", "vllm", "hydra", "omegaconf", "transformers", "tensordict", "scipy"}
print(sorted(frameworks & {name.partition(".")[0] for name in sys.modules}))
"""


def module_name(file: Path) -> str:
    parts = list(file.relative_to(REPOSITORY).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(*folders: str) -> dict[str, Path]:
    return {module_name(file): file for folder in folders for file in sorted((REPOSITORY / folder).rglob("*.py"))}


def imports(file: Path, modules: dict[str, Path]) -> tuple[set[str], set[str]]:
    """What a file imports: modules of ours, and top-level names of others; imports within functions count, too."""
    package = list(file.relative_to(REPOSITORY).parent.parts)
    ours, others = set(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import name`: the name may be a module of the package.
            names = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name in modules else source for name in names]
        else:
            continue
        for name in names:
            if name in modules:
                ours.add(name)
            elif name.partition(".")[0] not in ("verl_gpo", "recipes", "scripts", "tests"):
                others.add(name.partition(".")[0])
    return ours, others


def folder(module: str) -> str:
    """The part of the package that a module belongs to: a folder, or a file beside the folders."""
    return module.split(".")[1] if "." in module else "verl_gpo"


def cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def test_core_imports_no_framework():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_folders_of_the_package_depend_on_each_other_one_way():
    modules = sources("verl_gpo")
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        needed = {folder(name) for name in imports(file, modules)[0]}
        graph.setdefault(folder(module), set()).update(needed - {folder(module), "verl_gpo"})
    assert {"core", "plugin", "report"} <= set(graph) and "config" in graph["core"]  # it did look
    assert cycle(graph) == []
    assert graph["config"] == graph["statistics"] == set()
    assert graph["core"] <= CORE_MAY_IMPORT


def test_files_import_each_other_one_way():
    modules = sources("verl_gpo")
    assert cycle({module: imports(file, modules)[0] - {module} for module, file in modules.items()}) == []


def test_a_circle_would_be_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []
    assert cycle({"a": {"b"}, "b": {"c"}}) == []


@pytest.mark.parametrize("framework", MAY_IMPORT)
def test_only_the_glue_imports_verl_and_ray(framework):
    modules = sources("verl_gpo", "recipes", "scripts")
    found = {module for module, file in modules.items() if framework in imports(file, modules)[1]}
    allowed = {module for module in found if module.startswith("verl_gpo.") and folder(module) in MAY_IMPORT[framework]}
    assert allowed, "the test looks for nothing"
    assert sorted(found - allowed - LOADED_BY_VERL) == []


def test_no_module_is_found_by_a_change_of_the_search_path():
    # Written in two parts, so that this file is not found.
    needle = "sys." + "path.insert"
    files = [file for root in ("verl_gpo", "recipes", "scripts", "tests") for file in (REPOSITORY / root).rglob("*.py")]
    assert [str(file) for file in files if needle in file.read_text(encoding="utf-8")] == []


def test_files_are_of_a_size_that_is_read():
    long = {module: len(file.read_text("utf-8").splitlines()) for module, file in sources("verl_gpo").items()}
    assert {module: lines for module, lines in long.items() if lines > 320} == {}
