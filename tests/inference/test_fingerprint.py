"""What drawn samples depend on, and the refusal to mix what different settings have drawn."""

import argparse
import re

import pytest

from verl_gpo.graders.score import compute_score
from verl_gpo.inference.fingerprint import SPEED, difference, digest, engine_settings, identified_reward, refuse


def test_a_digest_is_of_the_content_and_not_of_the_order_of_keys():
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": [2, None], "a": 1})
    assert len({digest(1), digest("1"), digest([1]), digest(1, 1), digest()}) == 5
    assert re.fullmatch("[0-9a-f]{16}", digest({"path": object}))  # anything may be in it


def test_differences_with_both_values():
    there, here = {"a": 1, "b": [1, 2], "c": None}, {"b": (1, 2), "a": 1.5, "d": True}
    # A list is a tuple to JSON; a setting that is not there is None.
    assert difference(there, here) == {"a": (1, 1.5), "d": (None, True)}
    assert difference(here, here) == {}


def test_a_folder_of_other_settings_is_refused_with_what_differs(tmp_path):
    refuse(tmp_path, {"seed": 1}, {"seed": 1}, "samples")
    with pytest.raises(ValueError) as error:
        refuse(tmp_path, {"seed": 1, "k": 4}, {"seed": 2, "k": 8}, "samples")
    assert str(error.value) == (
        f"--out={tmp_path}: holds samples of other settings: seed (1 there, 2 here), k (4 there, 8 here); "
        "choose another folder"
    )


def arguments(*engine, parallel=1):
    return argparse.Namespace(
        engine=list(engine), tensor_parallel_size=parallel, max_model_len=512, temperature=0.5, top_p=0.9
    )


def test_what_only_changes_the_speed_is_given_to_the_engine_and_not_kept():
    kept, engine = engine_settings(arguments("quantization=fp8", "max_num_seqs=32", "dtype=float16", parallel=2))
    assert kept == {"dtype": "float16", "quantization": "fp8"} and list(kept) == ["dtype", "quantization"]
    sampled = {"max_model_len": 512, "temperature": 0.5, "top_p": 0.9}
    assert engine == {**kept, "max_num_seqs": 32, "tensor_parallel_size": 2, **sampled}
    assert {"max_num_seqs", "block_size"} <= SPEED and "dtype" not in SPEED
    assert engine_settings(arguments()) == ({}, sampled)


@pytest.mark.parametrize(
    ("setting", "option"),
    [("tensor_parallel_size=2", "--tensor-parallel-size"), ("max_model_len=9", "--max-model-len")],
)
def test_a_setting_that_has_an_option_is_refused(setting, option):
    key = setting.partition("=")[0]
    with pytest.raises(ValueError, match=f"^--engine {key}: give it as {option}$"):
        engine_settings(arguments(setting))


def test_a_reward_is_known_by_its_code(tmp_path):
    path = tmp_path / "reward.py"
    path.write_text("def compute_score(**row):\n    return 1.0\n\ndef other(**row):\n    return 0.0\n")
    function, name = identified_reward(str(path))
    assert function() == 1.0 and re.fullmatch(r"reward\.py:compute_score@[0-9a-f]{16}", name)
    other, other_name = identified_reward(f"{path}:other")
    assert other() == 0.0 and other_name == name.replace("compute_score", "other")
    path.write_text(path.read_text() + "# changed\n")
    assert identified_reward(str(path))[1] != name


def test_the_shared_grader_is_known_by_its_files():
    function, name = identified_reward(None)
    assert function is compute_score and re.fullmatch(r"verl_gpo\.graders@[0-9a-f]{16}", name)
    assert identified_reward(None)[1] == name


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), ("x = 1", "compute_score"), ("import no_such_module", "cannot be loaded (ModuleNotFound")],
)
def test_a_reward_that_cannot_be_loaded_is_one_line(tmp_path, content, said):
    path = tmp_path / "reward.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError) as error:
        identified_reward(str(path))
    assert said in str(error.value) and str(error.value).startswith("--reward=") and "\n" not in str(error.value)
