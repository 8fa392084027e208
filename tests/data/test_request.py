"""What may be asked for: settings that cannot work are refused before a file is read."""

from pathlib import Path

import pytest

from verl_gpo.data.registry import DATASETS, HOLDOUTS
from verl_gpo.data.request import PrepareError, Request


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "gsm9k"}, "--dataset gsm9k: no such data set; known are gsm8k, math, .*reasoning_gym:TASK"),
        ({"template": "x"}, "--template x: no such template; known are plain, boxed"),
        ({"split": ("train",)}, "--split train: aime24 has only test"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(PrepareError, match=message):
        Request(**{"dataset": "aime24", **settings})


def test_what_is_not_given_is_the_data_sets_own():
    request = Request("gsm8k")
    assert request.entry is DATASETS["gsm8k"] and request.template == "gsm8k" and request.split == ("train", "test")
    assert Request("gsm8k", split=("test",), template="boxed").split == ("test",)


def test_which_evaluation_sets_are_kept_out():
    mirror = Path("/mirror")
    assert Request("gsm8k", local_path=mirror).holdouts() == dict.fromkeys(HOLDOUTS, mirror)
    assert Request("gsm8k", holdout=("aime24=/copy", "math500")).holdouts() == {
        "aime24": Path("/copy"),
        "math500": None,
    }
    assert Request("gsm8k", holdout=("none",)).holdouts() == Request("gsm8k", split=("test",)).holdouts() == {}
    with pytest.raises(PrepareError, match="--holdout nosuch: no such evaluation set; known are gsm8k"):
        Request("gsm8k", holdout=("nosuch",)).holdouts()
