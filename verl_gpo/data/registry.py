"""The data sets. An entry says where one is published, its number of rows, and how a row becomes question and answer.

An entry also names the grader of the answers, so that both ``prepare`` and ``compute_score`` know the data set. Sizes,
names, configurations and columns are those of the data cards on the Hugging Face hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .columns import (
    ColumnError,
    Row,
    answer,
    cell,
    choices,
    first_of,
    label,
    optional_label,
    optional_text,
    position,
    shown,
    text,
)
from .gold import final_answer

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: The ``data_source`` of a reasoning-gym task is ``reasoning_gym/TASK``; on the command line it is
#: ``reasoning_gym:TASK``.
REASONING_GYM = "reasoning_gym"


class Example(NamedTuple):
    """One row of any data set: everything that a prompt and a grader need.

    Attributes:
        question: text of the question, with its options if it has any.
        answer: the ground truth.
        reference: the published solution, "" for none.
        task: the part of the data set that the row belongs to, such as a subject; "" for none.
        metadata: anything else that a grader reads or that is worth keeping.
    """

    question: str
    answer: str
    reference: str = ""
    task: str = ""
    metadata: Mapping[str, Any] = {}


@dataclass(frozen=True)
class DataSet:
    """One published data set.

    Attributes:
        name: its name on the command line.
        source: the ``data_source`` that is written to the rows; it decides the grader.
        hub: the repository on the Hugging Face hub.
        splits: ``train`` and ``test``, each to the name of the split on the hub and the published number of rows.
        read: makes an `Example` of a row. It returns None for a row that holds no answer, and raises ColumnError for a
            column that is missing or cannot be used.
        template: name of the prompt template that is used by default.
        grader: name of the grader in ``verl_gpo.graders.score.GRADERS``.
        ability: verl's column of this name, such as ``math``.
        configs: configurations of the repository that are read; if there are several, each is a task.
        other_configs: further configurations of the repository; files that are named after one are not read.
        tasks: the subjects whose rows belong to this data set; empty for all.
        aliases: other values of ``data_source`` that data made elsewhere have.
    """

    name: str
    source: str
    hub: str
    splits: Mapping[str, tuple[str, int]]
    read: Callable[[Row], Example | None]
    template: str
    grader: str = "math"
    ability: str = "math"
    configs: tuple[str, ...] = ("default",)
    other_configs: tuple[str, ...] = ()
    tasks: frozenset[str] = field(default=frozenset())
    aliases: tuple[str, ...] = ()

    def keep(self, row: Row) -> bool:
        """Whether a row belongs to this data set.

        Raises:
            ColumnError: the row has no subject.
        """
        return not self.tasks or text(row, first_of(row, "subject", "type")) in self.tasks


def options(question: str, choices: list[str]) -> str:
    """The question, followed by its options on a line each, lettered A, B, ..."""
    return "\n".join([question.strip(), *(f"{LETTERS[i]}. {text}" for i, text in enumerate(choices))])


def _gsm8k(row: Row) -> Example | None:
    solution = text(row, "answer")
    _, mark, final = solution.rpartition("####")
    if not mark or not final.strip():
        raise ColumnError("answer", f"must end in '#### ' and the final answer, and is {shown(solution)}")
    return Example(text(row, "question"), final.strip().replace(",", ""), solution)


def _math(row: Row) -> Example | None:
    solution = text(row, "solution")
    final, extra = final_answer(text(row, "problem"), solution), {"level": label(row, "level")}
    return Example(text(row, "problem"), final, solution, label(row, "type"), extra) if final else None


def _math500(row: Row) -> Example | None:
    final, subject = answer(row, "answer"), text(row, "subject")
    extra = {"level": label(row, "level"), "unique_id": label(row, "unique_id")}
    return Example(text(row, "problem"), final, optional_text(row, "solution"), subject, extra) if final else None


def _problem(row: Row) -> Example | None:
    """Read a row with the column names that data sets of competitions use."""
    solution = optional_text(row, "solution")
    question = text(row, first_of(row, "problem", "question"))
    final = answer(row, "answer") if "answer" in row or not solution else final_answer(question, solution)
    return Example(question, final, solution, optional_label(row, "type")) if final else None


_DAPO_FRAME = re.compile(
    r"\s*Solve the following math problem step by step\.[^\n]*\n+(.*?)(?:\n+Remember to put your answer[^\n]*)?\s*",
    re.DOTALL,
)


def _dapo(row: Row) -> Example | None:
    messages, model = cell(row, "prompt"), cell(row, "reward_model")
    if not (isinstance(messages, list) and messages and isinstance(messages[0], Mapping)):
        raise ColumnError("prompt", f"must be a list of messages, and is {shown(messages)}")
    if not isinstance(model, Mapping):
        raise ColumnError("reward_model", f"must be an object with ground_truth, and is {shown(model)}")
    inner = {"prompt[0].content": messages[0].get("content"), "reward_model.ground_truth": model.get("ground_truth")}
    question, final = text(inner, "prompt[0].content"), answer(inner, "reward_model.ground_truth")
    framed = _DAPO_FRAME.fullmatch(question)
    info = row.get("extra_info")
    extra = {"published_index": optional_label(info, "index") if isinstance(info, Mapping) else ""}
    return Example(framed[1] if framed else question, final, "", "", extra) if final else None


def _mmlu(row: Row) -> Example | None:
    cell(row, "answer")  # first, so that the error for a file without answers names this column
    named = choices(row, "choices", len(LETTERS))
    letter = LETTERS[position(row, "answer", len(named))]
    subject = text(row, first_of(row, "subject", "type"))
    return Example(options(text(row, "question"), named), letter, "", subject, {"choices": named})


def _mmlu_pro(row: Row) -> Example | None:
    letter, named = answer(row, "answer"), choices(row, "options", len(LETTERS))
    if letter not in LETTERS[: len(named)] or len(letter) != 1:
        raise ColumnError("answer", f"must be a letter from A to {LETTERS[len(named) - 1]}, and is {shown(letter)}")
    label(row, "question_id")
    extra = {"choices": named, "question_id": row["question_id"], "src": text(row, "src", empty=True)}
    question = options(text(row, "question"), named)
    return Example(question, letter, optional_text(row, "cot_content"), text(row, "category"), extra)


def _bbh(row: Row) -> Example | None:
    final = answer(row, "target")
    return Example(text(row, "input"), final, "", text(row, "task")) if final else None


_STEM = frozenset(
    ["abstract_algebra", "astronomy", "computer_security", "conceptual_physics", "electrical_engineering"]
    + ["elementary_mathematics", "machine_learning", "high_school_statistics"]
    + [f"college_{subject}" for subject in ("biology", "chemistry", "computer_science", "mathematics", "physics")]
    + [f"high_school_{subject}" for subject in ("biology", "chemistry", "computer_science", "mathematics", "physics")]
)

#: The tasks of BIG-Bench Hard and the form of their answers (see ``verl_gpo.graders.bbh``).
BBH_TASKS: dict[str, str] = {
    "boolean_expressions": "word",
    "causal_judgement": "word",
    "date_understanding": "letter",
    "disambiguation_qa": "letter",
    "dyck_languages": "brackets",
    "formal_fallacies": "word",
    "geometric_shapes": "letter",
    "hyperbaton": "letter",
    "logical_deduction_five_objects": "letter",
    "logical_deduction_seven_objects": "letter",
    "logical_deduction_three_objects": "letter",
    "movie_recommendation": "letter",
    "multistep_arithmetic_two": "number",
    "navigate": "word",
    "object_counting": "number",
    "penguins_in_a_table": "letter",
    "reasoning_about_colored_objects": "letter",
    "ruin_names": "letter",
    "salient_translation_error_detection": "letter",
    "snarks": "letter",
    "sports_understanding": "word",
    "temporal_sequences": "letter",
    "tracking_shuffled_objects_five_objects": "letter",
    "tracking_shuffled_objects_seven_objects": "letter",
    "tracking_shuffled_objects_three_objects": "letter",
    "web_of_lies": "word",
    "word_sorting": "list",
}


def _test(rows: int, split: str = "test") -> dict[str, tuple[str, int]]:
    return {"test": (split, rows)}


def _entries() -> list[DataSet]:
    both = {"train": ("train", 7473), "test": ("test", 1319)}
    math = {"train": ("train", 7500), "test": ("test", 5000)}
    lighteval, h4 = "DigitalLearningGmbH/MATH-lighteval", "HuggingFaceH4"
    dapo, deepscaler = "BytedTsinghua-SIA/DAPO-Math-17k", "agentica-org/DeepScaleR-Preview-Dataset"
    choice = {"template": "choice", "grader": "choice", "ability": "knowledge"}
    return [
        DataSet(
            "gsm8k",
            "openai/gsm8k",
            "openai/gsm8k",
            both,
            _gsm8k,
            "gsm8k",
            configs=("main",),
            other_configs=("socratic",),
        ),
        DataSet("math", lighteval, lighteval, math, _math, "boxed", aliases=("lighteval/MATH",)),
        DataSet("math500", f"{h4}/MATH-500", f"{h4}/MATH-500", _test(500), _math500, "boxed"),
        # The published rows have this data_source, which verl's own reward function knows too.
        DataSet("dapo_math_17k", "math_dapo", dapo, {"train": ("train", 1_791_700)}, _dapo, "dapo", aliases=(dapo,)),
        DataSet("deepscaler", deepscaler, deepscaler, {"train": ("train", 40_315)}, _problem, "boxed"),
        DataSet(
            "aime24",
            f"{h4}/aime_2024",
            f"{h4}/aime_2024",
            _test(30, "train"),
            _problem,
            "boxed",
            aliases=("aime2024", "math-ai/aime24", "Maxwell-Jia/AIME_2024"),
        ),
        DataSet("aime25", "math-ai/aime25", "math-ai/aime25", _test(30), _problem, "boxed", aliases=("aime2025",)),
        DataSet("amc23", "math-ai/amc23", "math-ai/amc23", _test(40), _problem, "boxed"),
        DataSet("minerva_math", "math-ai/minervamath", "math-ai/minervamath", _test(272), _problem, "boxed"),
        DataSet(
            "bbh",
            "SaylorTwift/bbh",
            "SaylorTwift/bbh",
            _test(6511),
            _bbh,
            "line",
            grader="bbh",
            ability="reasoning",
            configs=tuple(BBH_TASKS),
            aliases=("lukaemon/bbh",),
        ),
        DataSet("mmlu", "cais/mmlu", "cais/mmlu", _test(14_042), _mmlu, configs=("all",), **choice),
        DataSet(
            "mmlu_stem", "cais/mmlu:stem", "cais/mmlu", _test(3018), _mmlu, configs=("all",), tasks=_STEM, **choice
        ),
        DataSet("mmlu_pro", "TIGER-Lab/MMLU-Pro", "TIGER-Lab/MMLU-Pro", _test(12_032), _mmlu_pro, **choice),
    ]


DATASETS: dict[str, DataSet] = {entry.name: entry for entry in _entries()}

#: The evaluation sets of mathematics. By default their questions are kept out of mathematical training sets.
HOLDOUTS: tuple[str, ...] = tuple(
    name for name, entry in DATASETS.items() if "test" in entry.splits and entry.ability == "math"
)

#: ``data_source`` to the name of its grader.
GRADER_OF: dict[str, str] = {
    source: entry.grader for entry in DATASETS.values() for source in (entry.source, *entry.aliases)
}


def reference_table() -> str:
    """The data sets as a Markdown table, for the documentation."""
    lines = ["| `--dataset` | published as | rows | `--template` | grader |", "|---|---|---|---|---|"]
    for entry in DATASETS.values():
        rows = ", ".join(f"{rows:,} {split}" for split, (_, rows) in entry.splits.items())
        config = {1: f" (`{entry.configs[0]}`)"}.get(len(entry.configs), f" ({len(entry.configs)} configurations)")
        if entry.configs == ("default",):
            config = ""
        if entry.tasks:
            config += f", {len(entry.tasks)} subjects"
        lines.append(f"| `{entry.name}` | `{entry.hub}`{config} | {rows} | `{entry.template}` | {entry.grader} |")
    sizes = "`--size` train, `--test-size` test"
    lines.append(f"| `reasoning_gym:TASK` | the package `reasoning-gym` | {sizes} | `tagged` | reasoning_gym |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference_table())
