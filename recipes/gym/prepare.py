"""Prepare a task of reasoning-gym: problems in verl's parquet schema, and a small model that is supervised on them.

    python -m recipes.gym.prepare --task chain_sum --out ~/data/chain_sum

writes ``train.parquet``, ``test.parquet``, ``model/`` (a Hugging Face folder) and ``card.json`` (the settings, and the
accuracies of the model). The same call again finds them and returns at once.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from recipes.gym.problems import PackageMissing, Problem, generate, package_version, rows
from recipes.gym.tasks import TASKS, task_named
from recipes.prepared import check_sizes, command_line, common_options, find, save, told
from verl_gpo.data.write import new_folder, write_parquet

SUPERVISED_PROBLEMS = 6000
MEASURED_RESPONSES = 512
# Part of the settings on the card. Raise it after a change of the problems, the model or the supervision.
FORMAT_VERSION = 1


def prepare(
    out: Path,
    task: str,
    *,
    train: int = 2048,
    test: int = 256,
    seed: int = 0,
    slip: float | None = None,
    target: tuple[float, float] = (0.3, 0.6),
    steps: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> tuple[dict, bool]:
    """Write the folder, unless it holds the result of the same settings already.

    Args:
        out: the folder.
        task: name of the task.
        train, test: number of problems for training, and of held-out problems.
        seed: of problems and weights.
        slip: probability that a supervised solution gets a hard step wrong; None for the task's default.
        target: lowest and highest sampled accuracy (temperature 1) that are accepted.
        steps: number of optimizer steps in a round of the supervision; None for the task's default.
        force: write it again even if it is there, or was made with other settings.
        progress: show a progress bar.

    Returns:
        The card, and whether the folder was there already.

    Raises:
        ValueError: a setting is out of its range, or the share of right solutions in the supervised data is outside of
            the target.
        PackageMissing: reasoning-gym is not installed.
        FileExistsError: ``out`` holds something else than the result of the same settings.
        TargetMissed: the accuracy of the model is outside of the target. Nothing is written then.
    """
    began = time.process_time()
    chosen = task_named(task)
    check_sizes(train, test, target)
    slip = chosen.slip if slip is None else slip
    if not 0 <= slip < 1:
        raise ValueError(f"slip={slip} is not allowed: it must be a number in [0, 1)")
    training = {**chosen.training, **({} if steps is None else {"steps": steps})}
    if training["steps"] < 1:
        raise ValueError(f"steps={steps} is not allowed: it must be at least 1")
    request = {"format": FORMAT_VERSION, "task": task, "settings": dict(chosen.settings), "slip": slip}
    request |= {"train": train, "eval": test, "seed": seed, "target": list(target), "training": training}
    request |= {"reasoning_gym": package_version()}
    card = find(out, request, force)
    if card is not None:
        return card, True
    supervised = generate(chosen, max(SUPERVISED_PROBLEMS, train), seed)
    held_out = generate(chosen, test, seed, "eval")
    success = root_success(supervised, slip, seed)
    if not target[0] <= success <= target[1]:
        raise ValueError(
            f"target={target} is not allowed: of the supervised solutions, with slip={slip}, {success:.3f} are right, "
            "which must lie in the target"
        )
    with new_folder(out) as work:
        write_parquet(rows(supervised[:train], "train"), work / "train.parquet")
        write_parquet(rows(held_out, "test"), work / "test.parquet")
        model, tokenizer, measured = _supervise(supervised, held_out, request, progress)
        measured = {"root_success": success, **measured, "cpu_seconds": round(time.process_time() - began, 1)}
        card = save(work, model, tokenizer, request, measured)
    return card, False


def root_success(problems: list[Problem], slip: float, seed: int) -> float:
    """The share of right answers among supervised solutions, one for each problem."""
    rng = random.Random(f"root_success:{seed}")
    endings = (
        (problem.sample_solution(rng, slip).split("\n")[-1], problem.right_lines[-1].text) for problem in problems
    )
    return sum(answer == right for answer, right in endings) / len(problems)


def _supervise(
    supervised: list[Problem], held_out: list[Problem], request: dict, progress: bool
) -> tuple[Any, Any, dict]:
    """The model, its tokenizer, and entries for the card."""
    # Imported here, since torch and transformers take seconds to load, and a folder that is there needs neither.
    from recipes.gym import warmstart
    from recipes.supervision import train_and_measure

    seed = request["seed"]
    settings = warmstart.TrainSettings(**request["training"])
    model, tokenizer, train = warmstart.supervise(supervised, request["slip"], settings, seed, progress)
    measured = train_and_measure(
        train,
        lambda **how: warmstart.measure(model, tokenizer, held_out, seed=seed, **how),
        request["target"],
        settings,
        -(-MEASURED_RESPONSES // len(held_out)),
        "More --steps help if easy lines are below 0.99, else change --slip.",
    )
    return model, tokenizer, measured


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line(__doc__.partition("\n")[0], train=2048, test=256, target=(0.3, 0.6))
    parser.add_argument("--task", choices=TASKS, required=True, help="task of reasoning-gym")
    parser.add_argument(
        "--slip", type=float, default=None, help="probability that a supervised solution gets a hard step wrong"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)

    def make() -> tuple[dict, bool]:
        return prepare(
            args.out.expanduser().resolve(),
            args.task,
            slip=args.slip,
            **common_options(args),
        )

    return told(args.out, make, PackageMissing)


if __name__ == "__main__":
    sys.exit(main())
