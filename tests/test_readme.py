"""What the README states that the code knows better."""

import pytest

from scripts.bench_search_tables import PAGE, page
from tests.conftest import REPOSITORY
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.segment.steps import splitter_table
from verl_gpo.report import summary

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_paths_it_names_exist():
    for word in README.replace("(", " ").replace(")", " ").replace("`", " ").split():
        if word.startswith(("scripts/", "recipes/", "verl_gpo/", "docs/")) and "*" not in word:
            assert (REPOSITORY / word.rstrip(".,:;")).exists(), word


def test_its_two_commands_are_on_the_first_screen():
    first_screen = README.splitlines()[:40]
    for command in ("bash scripts/quickstart.sh", "bash scripts/test.sh"):
        assert any(command in line for line in first_screen)


@pytest.mark.parametrize(("readme", "runs"), [("README.md", ["gpo"]), ("recipes/arithmetic/README.md", None)])
def test_results_are_those_of_the_committed_runs(readme, runs, capsys):
    results = REPOSITORY / "recipes" / "arithmetic" / "results"
    runs = runs or sorted(folder.name for folder in results.iterdir())
    assert summary.main([*(str(results / run / "metrics.jsonl") for run in runs), "--markdown"]) == 0
    assert capsys.readouterr().out.strip() in (REPOSITORY / readme).read_text(encoding="utf-8")


def test_the_search_tables_are_those_of_the_committed_benchmark():
    assert page() == PAGE.read_text(encoding="utf-8"), "call python -m scripts.bench_search --page"


def test_the_page_on_searches_names_every_strategy_and_splitter():
    page = (REPOSITORY / "docs" / "search.md").read_text(encoding="utf-8")
    assert splitter_table() in page
    assert all(f"| `{search}` |" in page for search in SEARCHES)
