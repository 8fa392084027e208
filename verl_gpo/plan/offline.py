"""Check the command lines of an offline recipe and print the expected cost of its pairs; nothing is drawn or trained.

    python -m verl_gpo.plan.offline --steps 8 --response-tokens 2500 -- BUILD -- TRAIN

takes the arguments of ``verl_gpo.offline.build`` and of ``verl_gpo.offline.train``, and runs the checks of both. Data
and pairs may be missing: an example row takes their place.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..core.cost import expected_cost
from ..offline import build_settings, train_settings
from ..offline.build_settings import BuildSettings
from ..offline.train_settings import TrainSettings
from .architecture import architecture
from .configuration import PlanError
from .show import pairs
from .twin import method_settings

#: A row in verl's schema that the shared grader accepts.
_ROW = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "What is 2 + 2?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "4"},
    "extra_info": {"index": 0, "split": "train"},
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m verl_gpo.plan.offline", description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, required=True, help="steps of a response")
    parser.add_argument("--response-tokens", type=float, required=True, help="mean length of a response")
    own, build, train = _parts(list(sys.argv[1:] if argv is None else argv))
    args = parser.parse_args(own)
    try:
        with tempfile.TemporaryDirectory() as folder:
            drawn = _build(build, Path(folder))
            trained = _train(train, Path(folder))
        rows = _rows(drawn, trained, args)
    except (PlanError, ValueError) as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(pairs("Offline", rows))
    return 0


def _parts(argv: list[str]) -> tuple[list[str], list[str], list[str]]:
    marks = [position for position, argument in enumerate(argv) if argument == "--"]
    if len(marks) != 2:
        return argv, [], []
    return argv[: marks[0]], argv[marks[0] + 1 : marks[1]], argv[marks[1] + 1 :]


def _build(argv: list[str], folder: Path) -> tuple[argparse.Namespace, BuildSettings]:
    """The build's own checks, with an example row if the data are not on this host."""
    args = build_settings.parse_args(argv)
    here = argparse.Namespace(**vars(args))
    if not Path(args.data).expanduser().is_file():
        here.data = str(_written(folder / "data.parquet", [_ROW]))
    return args, build_settings.make_settings(here)


def _train(argv: list[str], folder: Path) -> TrainSettings:
    """The training's own checks, with example rows if the pairs are not on this host."""
    args = train_settings.parse_args(argv)
    if not args.pairs.exists():
        columns = train_settings.METHODS[args.method].columns
        rows = [{name: label if name == "label" else [1, 2] for name in columns} for label in (True, False)]
        args.pairs = _written(folder / "pairs.parquet", rows)
    return train_settings.make_settings(args)


def _written(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def _rows(
    drawn: tuple[argparse.Namespace, BuildSettings], trained: TrainSettings, args: argparse.Namespace
) -> list[tuple[str, str]]:
    given, plan = drawn
    model = architecture(plan.model)
    sizes = f", {model.parameters:,} parameters ({model.source})" if model else ""
    config = plan.config if plan.method in ("gpo", "authors") else method_settings(plan.config, plan.method)
    cost = expected_cost(config, args.steps, args.response_tokens, plan.roots)
    tokens = cost.root_tokens + cost.value_tokens + cost.reentry_tokens
    kinds = (
        ("whole responses", cost.root_tokens),
        ("search", cost.value_tokens),
        ("from the reset state", cost.reentry_tokens),
    )
    parts = ", ".join(f"{kind} {count:,.0f}" for kind, count in kinds)
    batch = trained.args.per_device_train_batch_size * trained.args.gradient_accumulation_steps
    lora = f"LoRA of rank {trained.model_args.lora_r}" if trained.model_args.use_peft else "all weights"
    rows = [
        ("model", f"{plan.model}{sizes}"),
        ("pairs", f"{plan.method}: {build_settings.METHODS[plan.method]}"),
        ("data", f"{given.data}{'' if Path(given.data).expanduser().is_file() else ' (not here)'}"),
        (
            "a prompt, tokens",
            f"{tokens:,.0f} ({parts}), with {args.steps} steps and {args.response_tokens:,.0f} tokens",
        ),
    ]
    if plan.token_budget:
        rows.append(
            ("all, tokens", f"{plan.token_budget:,}: {plan.token_budget / tokens:,.0f} prompts, {plan.visits} visits")
        )
    else:
        rows.append(("all, tokens", "no bound (--token-budget)"))
    rows += [
        ("loss", f"{trained.method}, {lora}, learning rate {trained.args.learning_rate:g}"),
        ("rows of an optimizer step", f"{batch} on each GPU"),
        ("longest row", f"{trained.args.max_length} tokens"),
    ]
    return rows


if __name__ == "__main__":
    sys.exit(main())
