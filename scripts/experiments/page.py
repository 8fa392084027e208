"""The sections and figures of the pages, made from the rows.

``docs/evidence.md`` has a table for each question (:mod:`scripts.experiments.answers`), ``docs/matrix.md`` has all
optimizers side by side, ``docs/agents.md`` has what was measured on conversations with tools, ``docs/credit.md`` on
step credit, and ``recipes/smollm2/README.md`` on a language model. The README has short tables of results, if it has
the marker for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.experiments import answers
from scripts.experiments.agents import agents
from scripts.experiments.credit import credit
from scripts.experiments.figures import accuracy_over_distance, accuracy_over_tokens
from scripts.experiments.language import language, short
from scripts.experiments.markers import fill
from scripts.experiments.optimizers import optimizers
from scripts.experiments.pipeline import REPOSITORY
from scripts.experiments.rows import Run

#: Name of a section -> the function that makes its text from all runs.
Sections = Mapping[str, Callable[[Sequence[Run]], str]]
EVIDENCE: Sections = {
    "summary": answers.summary,
    "protocol": answers.protocol,
    "same_optimizer_steps": answers.same_optimizer_steps,
    "equal_tokens": answers.equal_tokens,
    "same_rate": answers.same_rate,
    "rates": answers.rates,
    "each_at_its_rate": answers.each_at_its_rate,
    "found": answers.found,
    "seconds": answers.seconds,
}
MATRIX: Sections = {"": lambda runs: optimizers([run for run in runs if run.grid == "optimizers"])}
AGENTS: Sections = {"": agents}
CREDIT: Sections = {"": credit}
LANGUAGE: Sections = {"": language}
_NOTE = (
    "Models of 0.1 M parameters on toy tasks, mostly three seeds. A regime is a task with its settings. *Points* are "
    "percent points of accuracy at the end of training, smallest and largest over the regimes; *x tokens* are the "
    "generated tokens as a multiple of the other method's; p is not corrected for the number of comparisons. `grpo "
    "mini_batches=2` is GRPO with half its mini-batch, which takes as many optimizer steps as GPO's added rows."
)


def _readme(runs: Sequence[Run]) -> str:
    toys = answers.summary(runs, without=("random", "oracle"))
    return "\n\n".join(filter(None, (short(runs), toys, _NOTE)))


README: Sections = {"": _readme}
#: Page -> kind of its markers, and its sections.
PAGES: dict[str, tuple[str, Sections]] = {
    "docs/evidence.md": ("evidence", EVIDENCE),
    "docs/matrix.md": ("matrix", MATRIX),
    "docs/agents.md": ("agents", AGENTS),
    "docs/credit.md": ("credit", CREDIT),
    "recipes/smollm2/README.md": ("language", LANGUAGE),
    "README.md": ("results", README),
}
#: The methods in ``protocol.png``. ``tables protocol --figure FILE`` draws all methods.
_COMPARED = ("grpo", answers.TWICE, "random", "gpo_paper", "gpo_fast")
#: Figure of ``docs/evidence.md`` -> the grid of its runs, and the function that draws it.
FIGURES: dict[str, tuple[str, Callable[[Sequence[Run], Path], bool]]] = {
    "protocol.png": ("protocol", lambda runs, path: accuracy_over_tokens(_named(runs, _COMPARED), path)),
    "distance.png": ("skills", accuracy_over_distance),
}


def _named(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    return [run for run in runs if run.name in names]


def pages(runs: Sequence[Run], root: Path = REPOSITORY) -> dict[Path, str]:
    """The text that each page should have; the README only if it has the marker.

    Raises:
        ValueError: a page does not have its markers.
        OSError: a page cannot be read.
    """
    found = {}
    for name, (kind, sections) in PAGES.items():
        text = (root / name).read_text(encoding="utf-8")
        if name == "README.md" and f"<!-- {kind} -->" not in text:
            continue
        try:
            found[root / name] = fill(text, kind, {title: section(runs) for title, section in sections.items()})
        except ValueError as error:
            raise ValueError(f"{root / name}: {error}") from error
    return found


def figures(runs: Sequence[Run], folder: Path = REPOSITORY / "docs" / "evidence") -> list[str]:
    """Draw the figures for which there are runs, and return their names."""
    return [
        name for name, (grid, draw) in FIGURES.items() if draw([run for run in runs if run.grid == grid], folder / name)
    ]
