"""Identifies a model by its content, because two checkpoints may have had the same path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
_CONFIG = ("config.json", "generation_config.json")
_TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "chat_template*", "*.model")
#: Number of pieces of a weight file that are read, and bytes of each: reading a large model whole would take minutes.
_PLACES, _BYTES = 64, 4096


def identify(model: str) -> dict[str, str]:
    """Values for ``model`` and ``tokenizer`` that change when the model or the tokenizer changes.

    A folder is identified by its content: configuration and tokenizer files (the chat template is among them) in full,
    weights by their sizes and 64 pieces of each file. So it may be moved or copied. A model on the hub is identified by
    its name.

    Raises:
        ValueError: a folder without a model, or without a chat template.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if model.startswith(("/", ".", "~")) or model.count("/") != 1:
            raise ValueError(f"--model={model}: no such folder, and not an OWNER/NAME of the hub")
        return {"model": model, "tokenizer": model}
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"--model={model}: no config.json, so not a Hugging Face folder; convert verl's checkpoints with "
            "python -m verl.model_merger merge"
        )
    if not _has_chat_template(folder):
        raise ValueError(f"--model={model}: its tokenizer has no chat template, which prompts are written with")
    weights, config, tokenizer = (_digest(_files(folder, names)) for names in (_WEIGHTS, _CONFIG, _TOKENIZER))
    return {"model": f"{weights}-{config}", "tokenizer": tokenizer}


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("chat_template*")):
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError):
        return False


def _files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _digest(files: list[Path]) -> str:
    result = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        result.update(f"{path.name} {size}\n".encode())
        sampled = any(path.match(pattern) for pattern in _WEIGHTS)
        with path.open("rb") as file:
            if not sampled or size <= _PLACES * _BYTES:
                result.update(file.read())
                continue
            for place in range(_PLACES):
                file.seek(place * (size - _BYTES) // (_PLACES - 1))
                result.update(file.read(_BYTES))
    return result.hexdigest()[:12]
