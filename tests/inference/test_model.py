"""A checkpoint is known by what is in its folder, wherever that lies; one of the hub by its name."""

import json
import shutil

import pytest

from verl_gpo.inference import model as module
from verl_gpo.inference.model import identify


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text('{"layers": 2}')
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (path / "model.safetensors").write_bytes(bytes(range(200)))
    return path


def test_a_copy_is_the_same_model(folder, tmp_path):
    known = identify(str(folder))
    assert set(known) == {"model", "tokenizer"} and identify(str(folder)) == known
    assert identify(str(shutil.copytree(folder, tmp_path / "copy"))) == known


@pytest.mark.parametrize(
    ("name", "content", "changed"),
    [
        ("model.safetensors", b"\x01" + bytes(range(1, 200)), {"model"}),
        ("model-2.safetensors", b"more", {"model"}),
        ("config.json", b'{"layers": 3}', {"model"}),
        ("generation_config.json", b"{}", {"model"}),
        ("chat_template.jinja", b"{{ other }}", {"tokenizer"}),
        ("merges.txt", b"a b", {"tokenizer"}),
        ("README.md", b"text", set()),
    ],
)
def test_what_changes_with_which_file(folder, name, content, changed):
    before = identify(str(folder))
    (folder / name).write_bytes(content)
    after = identify(str(folder))
    assert {key for key in before if before[key] != after[key]} == changed


def test_of_a_large_weight_file_some_places_are_read(folder, monkeypatch):
    # Two places of four bytes, the first and the last, of 200.
    monkeypatch.setattr(module, "_PLACES", 2)
    monkeypatch.setattr(module, "_BYTES", 4)
    weights = folder / "model.safetensors"
    before = identify(str(folder))
    weights.write_bytes(bytes(range(100)) + b"\xff" + bytes(range(101, 200)))  # between them
    assert identify(str(folder)) == before
    weights.write_bytes(bytes(range(199)) + b"\xff")  # the last byte
    assert identify(str(folder)) != before
    weights.write_bytes(bytes(range(201)))  # another size
    assert identify(str(folder)) != before


def test_a_model_of_the_hub_is_its_name():
    assert identify("Qwen/Qwen3-0.6B") == {"model": "Qwen/Qwen3-0.6B", "tokenizer": "Qwen/Qwen3-0.6B"}


@pytest.mark.parametrize("name", ["/no/such", "./x", "~/no/such/model", "model", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_name_is_refused(name):
    with pytest.raises(ValueError, match="no such folder, and not an OWNER/NAME of the hub") as error:
        identify(name)
    assert str(error.value).startswith(f"--model={name}: ")


def test_a_folder_without_a_model_or_a_template_is_refused(folder):
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match="its tokenizer has no chat template"):
        identify(str(folder))
    (folder / "tokenizer_config.json").write_text("{ half")
    with pytest.raises(ValueError, match="its tokenizer has no chat template"):
        identify(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json, so not a Hugging Face folder"):
        identify(str(folder))
