"""The output folder of a recipe's preparation. It is either complete or absent, and used again for the same settings.

A folder holds ``card.json``, the *card*: the settings it was made with, and what was measured of the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class TargetMissed(RuntimeError):
    """The accuracy of the supervised model, sampled, is outside of the range that is accepted."""


def cache_key(request: dict) -> str:
    """A hash of the settings, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]


def read_card(out: Path) -> dict | None:
    """The card of a prepared folder; None if there is no folder, or if it was not made by a preparation."""
    try:
        return json.loads((out / "card.json").read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def check_sizes(train: int, test: int, target: tuple[float, float]) -> None:
    """Check the numbers of problems and the accepted accuracies.

    Raises:
        ValueError: one of them is not possible.
    """
    low, high = target
    if not 0 <= low < high <= 1:
        raise ValueError(f"target={target} is not allowed: it must be two accuracies with 0 <= low < high <= 1")
    for name, value in (("train", train), ("eval", test)):
        if value < 1:
            raise ValueError(f"{name}={value} is not allowed: it must be at least 1")


def find(out: Path, request: dict, force: bool = False) -> dict | None:
    """The card, if the folder holds the result of the same settings; None, if it has to be written.

    Args:
        out: the folder.
        request: the settings.
        force: write it even if it was made before, with these or other settings.

    Raises:
        FileExistsError: the folder was made with other settings, and ``force`` is not given; or it holds other files.
    """
    card = read_card(out)
    if card is not None and card.get("key") == cache_key(request) and not force:
        return card
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if card is None:
            raise FileExistsError(f"{out} exists and was not written by this command: choose another folder")
        if not force:
            raise FileExistsError(f"{out} was made with other settings ({card['request']}): pass --force to replace it")
    return None


def save(folder: Path, model: Any, tokenizer: Any, request: dict, measured: dict) -> dict:
    """Write model and tokenizer to ``model/``, and the card.

    Args:
        folder: to write to.
        model, tokenizer: of Hugging Face.
        request: the settings.
        measured: further entries of the card.

    Returns:
        The card.
    """
    import torch
    import transformers

    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    card = {"key": cache_key(request), "request": request, **measured, "versions": versions}
    card["parameters"] = model.num_parameters()
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def command_line(description: str, train: int, test: int, target: tuple[float, float]) -> argparse.ArgumentParser:
    """The command line of a preparation, with the options that all of them have; :func:`common_options` reads these.

    Args:
        description: the first line of the help text.
        train, test, target: defaults of the numbers of problems and of the accepted accuracies.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--out", type=Path, required=True, help="folder to write")
    made.add_argument("--train", type=int, default=train, help="problems in train.parquet")
    made.add_argument("--eval", type=int, default=test, help="held-out problems in test.parquet")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--steps", type=int, default=None, help="optimizer steps of a round (None: the task's)")
    made.add_argument("--target-low", type=float, default=target[0], help="lowest sampled accuracy accepted")
    made.add_argument("--target-high", type=float, default=target[1], help="highest sampled accuracy accepted")
    made.add_argument("--force", action="store_true", help="make it again even if it is there")
    return made


def common_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`command_line` as keyword arguments of a recipe's ``prepare``, without ``out``."""
    return {
        "train": args.train,
        "test": args.eval,
        "seed": args.seed,
        "steps": args.steps,
        "target": (args.target_low, args.target_high),
        "force": args.force,
    }


def told(out: Path, make: Callable[[], tuple[dict, bool]], *errors: type[Exception]) -> int:
    """Prepare a folder from the command line, and say in one line what became of it.

    Args:
        out: the folder, as the user wrote it.
        make: the recipe's preparation; returns the card, and whether it was there already.
        errors: what it may raise besides ValueError, FileExistsError and :class:`TargetMissed`.

    Returns:
        The exit status.
    """
    try:
        card, cached = make()
    except (ValueError, FileExistsError, TargetMissed, *errors) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    accuracy = f"sampled accuracy {card['sampled']['accuracy']:.3f}"
    if "greedy" in card:
        accuracy += f", greedy {card['greedy']['accuracy']:.3f}"
    print(f"{out}: {'already prepared' if cached else 'prepared'}; {accuracy}")
    return 0
