"""Prepare the arithmetic task: problems in verl's parquet schema, and a small model that is supervised on them.

    python -m recipes.arithmetic.prepare --out ~/data/arithmetic

writes ``train.parquet``, ``test.parquet``, ``model/`` (a Hugging Face folder) and ``card.json`` (the settings, and the
accuracies of the model). The same call again finds them and returns at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recipes.arithmetic.task import HARD_PLACES, ArithmeticSpec, Problem, generate_problems
from recipes.prepared import check_sizes, command_line, common_options, find, save, told
from verl_gpo.data.write import new_folder

DATA_SOURCE = "verl_gpo/arithmetic"
SUPERVISED_PROBLEMS = 6000
MEASURED_RESPONSES = 1024
# Part of the settings on the card. Raise it after a change of the problems, the model or the supervision.
FORMAT_VERSION = 1


def row(problem: Problem, split: str, index: int) -> dict:
    """One problem in verl's schema. ``extra_info["hard_steps"]`` has the numbers of the hard steps."""
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": problem.prompt}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {
            "split": split,
            "index": index,
            "hard_steps": list(problem.hard_steps),
            "n_steps": len(problem.operations),
            "question": problem.prompt,
        },
    }


def write_parquet(problems: list[Problem], split: str, path: Path) -> None:
    """Write problems in verl's schema; ``split`` is the column of that name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    item = pa.struct([("role", pa.string()), ("content", pa.string())])
    extra = [("split", pa.string()), ("index", pa.int64()), ("hard_steps", pa.list_(pa.int64()))]
    schema = pa.schema(
        [
            ("data_source", pa.string()),
            ("prompt", pa.list_(item)),
            ("ability", pa.string()),
            ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
            # The types are given, since the inferred one would be null for a task without hard steps.
            ("extra_info", pa.struct([*extra, ("n_steps", pa.int64()), ("question", pa.string())])),
        ]
    )
    pq.write_table(pa.Table.from_pylist([row(p, split, i) for i, p in enumerate(problems)], schema=schema), path)


def prepare(
    out: Path,
    spec: ArithmeticSpec,
    *,
    train: int = 2048,
    test: int = 256,
    seed: int = 0,
    target: tuple[float, float] = (0.3, 0.6),
    steps: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> tuple[dict, bool]:
    """Write the folder, unless it holds the result of the same settings already.

    Args:
        out: the folder.
        spec: length and difficulty of the problems.
        train, test: number of problems for training, and of held-out problems.
        seed: of problems and weights.
        target: lowest and highest sampled accuracy (temperature 1) that are accepted.
        steps: number of optimizer steps in a round of the supervision; None for the default.
        force: write it again even if it is there, or was made with other settings.
        progress: show a progress bar.

    Returns:
        The card, and whether the folder was there already.

    Raises:
        ValueError: a setting is out of its range, or the share of right solutions in the supervised data is outside of
            the target.
        FileExistsError: ``out`` holds something else than the result of the same settings.
        TargetMissed: the accuracy of the model is outside of the target. Nothing is written then.
    """
    check_sizes(train, test, target)
    low, high = target
    if not low <= spec.root_success <= high:
        raise ValueError(
            f"target={target} is not allowed: slip={spec.slip} and n_hard={spec.n_hard} give a root success of "
            f"{spec.root_success:.3f}, which must lie in the target"
        )
    request = {"format": FORMAT_VERSION, "spec": spec.to_dict(), "train": train, "eval": test, "seed": seed}
    request |= {"target": [low, high], "steps": steps}
    card = find(out, request, force)
    if card is not None:
        return card, True
    with new_folder(out) as work:
        card = _make(work, spec, request, progress)
    return card, False


def _make(folder: Path, spec: ArithmeticSpec, request: dict, progress: bool) -> dict:
    # Imported here, since torch and transformers take seconds to load, and a folder that is there needs neither.
    from recipes.arithmetic import warmstart
    from recipes.supervision import train_and_measure

    seed = request["seed"]
    settings = warmstart.TrainSettings(**({} if request["steps"] is None else {"steps": request["steps"]}))
    supervised = generate_problems(spec, max(SUPERVISED_PROBLEMS, request["train"]), seed)
    held_out = generate_problems(spec, request["eval"], seed, "eval")
    write_parquet(supervised[: request["train"]], "train", folder / "train.parquet")
    write_parquet(held_out, "test", folder / "test.parquet")

    model, tokenizer, train = warmstart.supervise(supervised, spec, settings, seed, progress)
    measured = train_and_measure(
        train,
        lambda **how: warmstart.measure(model, tokenizer, held_out, seed=seed, **how),
        request["target"],
        settings,
        -(-MEASURED_RESPONSES // len(held_out)),
        f"Root success of the data {spec.root_success:.3f}. More --steps help if easy lines are below 0.995, else "
        "change --slip or --n-hard.",
    )
    measured |= {"root_success": spec.root_success}
    return save(folder, model, tokenizer, request, measured)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    default = ArithmeticSpec()
    parser = command_line(__doc__.partition("\n")[0], train=2048, test=256, target=(0.3, 0.6))
    parser.add_argument("--n-steps", type=int, default=default.n_steps, help="operations in a problem")
    parser.add_argument("--n-hard", type=int, default=default.n_hard, help="number of hard ones among them")
    parser.add_argument("--hard-place", choices=HARD_PLACES, default=default.hard_place, help="where the hard ones are")
    parser.add_argument(
        "--slip", type=float, default=default.slip, help="probability that a supervised solution gets a hard step wrong"
    )
    parser.add_argument("--digits", type=int, default=default.digits, help="digits of a value")
    parser.add_argument(
        "--n-signs", type=int, default=default.n_signs, help="number of different signs for hard operations"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)

    def make() -> tuple[dict, bool]:
        spec = ArithmeticSpec(args.n_steps, args.n_hard, args.hard_place, args.slip, args.digits, args.n_signs)
        return prepare(
            args.out.expanduser().resolve(),
            spec,
            **common_options(args),
        )

    return told(args.out, make)


if __name__ == "__main__":
    sys.exit(main())
