"""What the README states that the code knows better."""

import re

from scripts.bench_search_tables import PAGE, page
from tests.conftest import REPOSITORY
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.segment.steps import splitter_table
from verl_gpo.report import summary

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_paths_it_names_exist():
    for word in README.replace("(", " ").replace(")", " ").replace("`", " ").split():
        if word.startswith(("scripts/", "recipes/", "verl_gpo/", "docs/")) and "*" not in word:
            assert (REPOSITORY / word.rstrip(".,:;").partition("#")[0]).exists(), word


def test_its_map_names_every_folder_of_the_package():
    (plan,) = [block for block in README.split("```") if block.startswith("\nverl_gpo/")]
    folders = {file.parent.name for file in (REPOSITORY / "verl_gpo").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"(\w+)/", plan)) and len(folders) > 10


def test_its_two_commands_are_on_the_first_screen():
    first_screen = README.splitlines()[:40]
    for command in ("bash scripts/quickstart.sh", "bash scripts/test.sh"):
        assert any(command in line for line in first_screen)


def test_the_results_of_the_quickstart_are_those_of_its_committed_runs(capsys):
    results = REPOSITORY / "recipes" / "arithmetic" / "results"
    assert summary.main([f"GPO={results / 'gpo'}", f"GRPO={results / 'grpo'}", "--markdown"]) == 0
    table = capsys.readouterr().out.strip()
    assert table.count("\n") > 10 and table in (REPOSITORY / "recipes/arithmetic/README.md").read_text(encoding="utf-8")


def test_the_search_tables_are_those_of_the_committed_benchmark():
    assert page() == PAGE.read_text(encoding="utf-8"), "call python -m scripts.bench_search --page"


def test_the_page_on_searches_names_every_search_and_splitter():
    page = (REPOSITORY / "docs" / "search.md").read_text(encoding="utf-8")
    assert splitter_table() in page
    assert all(f"| `{search}` |" in page for search in SEARCHES)
