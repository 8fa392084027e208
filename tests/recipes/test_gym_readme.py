"""The figures in the recipe's README are those of the committed cards."""

import json

from recipes.gym.tasks import TASKS
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "recipes" / "gym"


def measured():
    """The cards as the README's table."""
    cards = [json.loads((FOLDER / "results" / f"{name}.json").read_text()) for name in TASKS]
    shown = {
        "parameters": lambda card: f"{card['parameters']:,}",
        "slip in the supervised solutions": lambda card: card["request"]["slip"],
        "right among these solutions": lambda card: f"{card['root_success']:.3f}",
        "**root success: right, sampled**": lambda card: f"{card['sampled']['accuracy']:.3f}",
        "right, greedy": lambda card: f"{card['greedy']['accuracy']:.3f}",
        "hard lines right, sampled": lambda card: f"{card['sampled']['hard_step']:.3f}",
        "other lines right, sampled": lambda card: f"{card['sampled']['easy_step']:.3f}",
        "optimizer steps": lambda card: card["rounds"] * card["settings"]["steps"],
        "CPU seconds on one thread, graders' processes apart": lambda card: f"{card['cpu_seconds']:.0f}",
    }
    lines = [f"| | {' | '.join(f'`{name}`' for name in TASKS)} |", "|---|---:|---:|"]
    lines += [f"| {name} | {' | '.join(str(value(card)) for card in cards)} |" for name, value in shown.items()]
    return "\n".join(lines)


def test_the_table_is_that_of_the_cards():
    assert f"<!-- measured -->\n{measured()}\n<!-- /measured -->" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_cards_are_of_the_tasks_as_they_are():
    for name, task in TASKS.items():
        request = json.loads((FOLDER / "results" / f"{name}.json").read_text())["request"]
        assert (request["task"], request["settings"], request["slip"]) == (name, dict(task.settings), task.slip)
        assert request["training"] == dict(task.training)


def test_the_lengths_are_those_of_the_tasks():
    row = " | ".join(f"{task.prompt_tokens}, {task.response_tokens}" for task in TASKS.values())
    assert f"| tokens: prompt, longest right response | {row} |" in (FOLDER / "README.md").read_text(encoding="utf-8")
