"""What every page has to fulfil: links and commands lead somewhere, names exist, words are plain, length is bounded."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.plugin.observe.test_metrics import FAILED, REENTERED, SKIPPED, WITHOUT_CRITICAL_STEP
from verl_gpo.config import GPOConfig
from verl_gpo.plugin.observe.metrics import step_metrics
from verl_gpo.plugin.observe.trackers import HISTOGRAM, TABLE

DOCS = REPOSITORY / "docs"
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((REPOSITORY / "recipes").glob("*/README.md")),
]
#: Most lines of a page, where it is not 400.
LINES = {"README.md": 150, "docs/evidence.md": 300}
#: Keys with a typo, which pages show on purpose.
TYPOS = {"n_mcc"}
#: Words and turns that a reader with English as a second language stumbles over, and what is written instead.
PLAIN = {
    r"\bdear(er|est|ly)?\b": "expensive",
    r"\breckon\w*": "estimate, expect",
    r"\bin so many\b|\bevery so many\b": "one out of every N, a fixed number of",
    r"\bbranch(es)?\b": "re-entry rollout, re-entry group",
    r"\baught\b|\bnought\b|\bwhence\b|\bthereof\b": "a common word",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def code_and_prose(text: str) -> tuple[str, str]:
    """The fenced blocks of a page, and the rest of it."""
    parts = re.split(r"^```.*\n", text, flags=re.MULTILINE)
    return "\n".join(parts[1::2]), "\n".join(parts[0::2])


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    _, prose = code_and_prose(page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (slug if not number else f"{slug}-{number}") in found:
            number += 1
        found.add(slug if not number else f"{slug}-{number}")
    return found


def is_runnable(module: str) -> bool:
    """Whether ``python -m MODULE`` runs something of this repository."""
    path = REPOSITORY.joinpath(*module.split("."))
    if (path / "__main__.py").is_file():
        return True
    file = path.with_suffix(".py")
    return file.is_file() and '__name__ == "__main__"' in file.read_text(encoding="utf-8")


def test_anchors_by_hand(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One `a.b` page: *it*\n\n## Twice\n## Twice\n```\n# no heading\n```\n## [a link](x.md), 2\n")
    assert anchors(page) == {"one-ab-page-it", "twice", "twice-1", "a-link-2"}


@every_page
def test_links_lead_somewhere(page):
    _, prose = code_and_prose(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(found), f"{target}: {name_of(found)} has no such heading"


@every_page
def test_it_is_not_too_long(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LINES.get(name_of(page), 400)


@every_page
def test_commands_exist(page):
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"-m ((?:verl_gpo|scripts|recipes)(?:\.\w+)*)", text):
        assert is_runnable(module), f"python -m {module}"
    for script in re.findall(r"\b(?:bash|sbatch(?: --\S+)*) ([\w./-]+\.sh)", text):
        assert (REPOSITORY / script).is_file(), script
    for script in re.findall(r"\bpython ((?:scripts|recipes|verl_gpo)/[\w./-]+\.py)", text):
        pytest.fail(f"python {script}: files of a package run as modules, by python -m")


def commands(text: str) -> list[tuple[str, set[str]]]:
    """The modules that a page runs with ``python -m``, and the options that it gives each."""
    found = []
    for line in re.findall(r"-m ((?:verl_gpo|scripts|recipes)\.[^`\n]*)", text.replace("\\\n", " ")):
        mine = re.split(r" -- | -m | # ", line)[0]  # behind them begins another command, or a comment
        found.append((mine.split()[0], set(re.findall(r"(?<![\w-])(--[a-z][\w-]*)", mine))))
    return found


def test_commands_by_hand():
    text = "python -m verl_gpo.a --x 1 \\\n  --y=2  # --z\nand `python -m scripts.b run --k` --no\n"
    assert commands(text) == [("verl_gpo.a", {"--x", "--y"}), ("scripts.b", {"--k"})]


@every_page
def test_options_exist(page):
    """An option is one that a file beside the module names; Hydra's own are not asked for.

    Preparations of recipes have some from a file that they share.
    """
    for module, options in commands(page.read_text(encoding="utf-8")):
        path = REPOSITORY.joinpath(*module.split("."))
        folder = path if path.is_dir() else path.parent
        shared = [REPOSITORY / "recipes" / "prepared.py"] if re.fullmatch(r"recipes\.\w+\.prepare", module) else []
        files = [*folder.glob("*.py"), *shared]
        source = "\n".join(file.read_text(encoding="utf-8") for file in files)
        for option in options:
            assert f'"{option}"' in source, f"python -m {module} {option}"


@every_page
def test_paths_exist(page):
    """Files and folders of the repository, wherever a page names them; NAME stands for any."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w/.$-])(?:docs|recipes|scripts|tests|verl_gpo)/[\w./-]*\w", text):
        assert (REPOSITORY / path).exists() or "NAME" in path, path


@every_page
def test_settings_exist(page):
    known = {field.name for field in fields(GPOConfig)} | TYPOS
    for name in re.findall(r"algorithm\.gpo\.([a-z_]\w*)", page.read_text(encoding="utf-8")):
        assert name in known, f"algorithm.gpo.{name}"


@every_page
def test_metrics_are_on_their_page(page):
    known = (DOCS / "metrics.md").read_text(encoding="utf-8") + f"`{HISTOGRAM}` `{TABLE}`"
    for name in re.findall(r"`(gpo/[a-z_0-9/]+)`", page.read_text(encoding="utf-8")):
        assert f"`{name}`" in known, name


def test_the_page_of_metrics_has_all_that_a_step_logs():
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    logged = step_metrics([{**REENTERED, "given": [True]}, WITHOUT_CRITICAL_STEP, SKIPPED, FAILED])
    missing = {name for name in (*logged, "gpo/rows", "gpo/optimizer_steps") if f"`{name}`" not in page}
    assert missing <= {f"gpo/critical/fifth_{number}" for number in (2, 3, 4)}  # `fifth_1` ... `fifth_5`


@every_page
def test_words_are_plain(page):
    _, prose = code_and_prose(page.read_text(encoding="utf-8"))
    for pattern, instead in PLAIN.items():
        found = re.search(pattern, prose, flags=re.IGNORECASE)
        assert not found, f"{found[0]!r}: write {instead}"


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.parent == DOCS and page.name != "README.md":
            assert f"({page.name}" in index, page.name
        elif page.parent.parent.name == "recipes":
            assert f"(../{name_of(page)})" in index, name_of(page)
