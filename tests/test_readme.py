"""What the README states that the code knows better."""

import json

import pytest

from scripts.search_tables import ARITHMETIC_COLUMNS, equal_hits, markdown
from tests.conftest import REPOSITORY
from verl_gpo.core.search import SEARCHES
from verl_gpo.core.segment.steps import splitter_table
from verl_gpo.plan.reference import reference_table
from verl_gpo.report import summary

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_configuration_table_is_the_generated_one():
    assert reference_table(allowed=False) in README


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
    result = json.loads((REPOSITORY / "scripts" / "results" / "bench_search.json").read_text())
    page = (REPOSITORY / "docs" / "search.md").read_text(encoding="utf-8")
    assert markdown(result) in page
    assert equal_hits(result["arithmetic"]["rows"], ARITHMETIC_COLUMNS) in README


def test_the_page_on_searches_names_every_strategy_and_splitter():
    page = (REPOSITORY / "docs" / "search.md").read_text(encoding="utf-8")
    assert splitter_table() in page
    assert all(f"| `{search}` |" in page for search in SEARCHES)
