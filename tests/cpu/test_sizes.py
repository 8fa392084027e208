"""The size of a model, and what a token of it takes, from its configuration."""

import json

import pytest

from tests.cpu.test_settings_of_a_model import SMOLLM2
from verl_gpo.cpu import sizes


def test_the_size_of_a_model_by_hand(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    shape = sizes.read(tmp_path)
    # Attention counted as 4 x 576 x 576, which grouped keys and values make smaller: 134.5 M in truth.
    assert shape.parameters == 30 * (4 * 576**2 + 3 * 576 * 1536) + 49152 * 576 == 147_750_912
    assert shape.bytes_of_token == 4 * (30 * (14 * 576 + 5 * 1536) + 4 * 49152) == 2_675_712
    (tmp_path / "config.json").write_text(json.dumps({**SMOLLM2, "tie_word_embeddings": False}))
    assert sizes.read(tmp_path).parameters == shape.parameters + 49152 * 576


@pytest.mark.parametrize("text", [None, "{", "{}", '{"hidden_size": null}', "[]"])
def test_a_model_of_unknown_size(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert sizes.read(tmp_path) is None
