"""The output folder of a recipe's preparation: complete or absent, and reused if it has the same settings."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any


class TargetMissed(RuntimeError):
    """The supervised model's sampled accuracy is outside the target range."""


def cache_key(request: dict) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]


def read_card(out: Path) -> dict | None:
    """The card of a complete folder, None if there is no folder or it is not one of ours."""
    try:
        return json.loads((out / "card.json").read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def check_sizes(train: int, test: int, target: tuple[float, float]) -> None:
    """Raise ValueError for a target or a number of problems that cannot be."""
    low, high = target
    if not 0 <= low < high <= 1:
        raise ValueError(f"target={target} is not allowed: it must be two accuracies with 0 <= low < high <= 1")
    for name, value in (("train", train), ("eval", test)):
        if value < 1:
            raise ValueError(f"{name}={value} is not allowed: it must be at least 1")


def find(out: Path, request: dict, force: bool = False) -> dict | None:
    """The card if the folder holds the result of the request, None if it may be written (or with ``force``).

    Raises:
        FileExistsError: if the folder holds anything else.
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
    """Write ``model/`` and the card, which holds ``measured`` besides the request, and return the card."""
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
