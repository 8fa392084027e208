"""The pages: tables between markers, written once and checked, and figures."""

import pytest

from scripts.experiments import page
from scripts.experiments.__main__ import main
from scripts.experiments.grids import known_grids
from scripts.experiments.results import FOLDER, read_results
from tests.conftest import REPOSITORY
from tests.experiments.samples import PAIR, a_run, write


@pytest.fixture
def site(tmp_path):
    (tmp_path / "docs").mkdir()
    marked = "\n".join(f"<!-- evidence {name} -->\n<!-- /evidence -->" for name in page.EVIDENCE)
    (tmp_path / "docs" / "evidence.md").write_text(f"before\n{marked}\nafter\n")
    (tmp_path / "docs" / "matrix.md").write_text("<!-- matrix -->\n<!-- /matrix -->\n")
    (tmp_path / "docs" / "agents.md").write_text("<!-- agents -->\n<!-- /agents -->\n")
    (tmp_path / "docs" / "credit.md").write_text("<!-- credit -->\n<!-- /credit -->\n")
    (tmp_path / "recipes" / "smollm2").mkdir(parents=True)
    (tmp_path / "recipes" / "smollm2" / "README.md").write_text("<!-- language -->\n<!-- /language -->\n")
    (tmp_path / "README.md").write_text("no table wanted\n")
    return tmp_path, ["page", "--results", str(tmp_path / "results"), "--root", str(tmp_path)]


def test_pages_are_written_once_and_checked(site, capsys):
    folder, call = site
    write(folder / "results", [*PAIR, a_run("dapo", grid="optimizers", curve=())])
    assert main([*call, "--check"]) == 1
    assert "does not agree with the results; call python -m scripts.experiments page" in capsys.readouterr().err
    assert main(call) == 0
    text = (folder / "docs" / "evidence.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| prompts and steps | `gpo_fast` | `grpo` | 1 | 0 | 0 | +2.0 to +2.0 | 2.00 to 2.00 |" in text
    assert (folder / "docs" / "agents.md").read_text() == "<!-- agents -->\n\nNot measured yet.\n\n<!-- /agents -->\n"
    assert "| dapo | dapo | 1 | 50.0 [40.0, 60.0] (problems) |" in (folder / "docs" / "matrix.md").read_text()
    assert (folder / "docs" / "evidence" / "protocol.png").exists()
    assert not (folder / "docs" / "evidence" / "distance.png").exists()
    assert main([*call, "--check"]) == 0
    assert (folder / "README.md").read_text() == "no table wanted\n"
    (folder / "README.md").write_text("<!-- results -->\n<!-- /results -->\n")
    assert main(call) == 0
    assert "| prompts and steps | `gpo_fast` | `grpo` | 1 |" in (folder / "README.md").read_text()
    assert (folder / "docs" / "evidence.md").read_text() == text


def test_a_page_without_a_marker_is_named(site, capsys):
    folder, call = site
    (folder / "docs" / "evidence.md").write_text("nothing\n")
    assert main(call) == 1
    assert "evidence.md: <!-- evidence summary -->" in capsys.readouterr().err


def test_rows_that_cannot_be_read_end_it_with_one_line(site, capsys):
    folder, call = site
    write(folder / "results", [a_run(), a_run(curve=())])
    assert main(call) == 1
    error = capsys.readouterr().err
    assert error.startswith("verl_gpo: ") and error.count("\n") == 1


def test_all_tables_of_a_grid_are_shown(tmp_path, capsys):
    results = str(write(tmp_path / "r", [*PAIR, a_run(grid="tuning", curve=())]))
    assert main(["tables", "protocol", "--results", results, "--figure", str(tmp_path / "a.png")]) == 0
    said = capsys.readouterr().out
    for title in (
        "Every method at the end of its runs",
        "At equal tokens",
        "Chosen steps",
        "Seconds of a training step",
    ):
        assert f"## {title}" in said
    assert "| late12 | gpo_fast | grpo | 3 | +2.0 [-0.5, +4.5] | 0.074 |" in said and (tmp_path / "a.png").exists()
    assert main(["tables", "none", "--results", results]) == 1
    assert capsys.readouterr().err == "verl_gpo: none: must be one of protocol, tuning\n"
    assert main(["tables", "tuning", "--results", results, "--figure", str(tmp_path / "b.png")]) == 1


def test_the_committed_pages_are_what_the_committed_rows_say():
    for path, text in page.pages(read_results(FOLDER, known_grids())).items():
        said = f"{path.relative_to(REPOSITORY)}: call python -m scripts.experiments page"
        assert path.read_text(encoding="utf-8") == text, said


def test_the_pages_can_be_read():
    lines = {name: len((REPOSITORY / name).read_text(encoding="utf-8").splitlines()) for name in page.PAGES}
    assert lines["docs/evidence.md"] <= 300 and lines["docs/matrix.md"] < 100
