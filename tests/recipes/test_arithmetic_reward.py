"""The rule reward, loaded by path as verl loads it."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).resolve().parents[2] / "recipes" / "arithmetic" / "reward.py"
loaded = importlib.util.spec_from_file_location("custom_reward", PATH)
reward = importlib.util.module_from_spec(loaded)
loaded.loader.exec_module(reward)


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("a+792\nb*138\n= 138", 1.0),
        ("= 138", 1.0),
        ("=138", 1.0),
        ("= 138\n", 1.0),
        ("= 138<|im_end|>", 1.0),
        ("= 138<|im_end|>\n", 1.0),
        ("= 061\n= 138", 1.0),
        ("= 138\n= 061", 0.0),
        ("= 138\n= x", 0.0),  # a malformed last answer is not replaced by an earlier one
        ("", 0.0),
        ("=", 0.0),
        ("= ", 0.0),
        ("a+792\nb*138", 0.0),
        ("a+792\nb*138\n= 13", 0.0),
        ("= 0138", 0.0),
        ("= 1 38", 0.0),
        ("b= 138", 0.0),
        ("= 138 = 138", 0.0),
        ("= ١٣٨", 0.0),  # only ASCII digits count
    ],
)
def test_cases(response, score):
    assert reward.compute_score("any", response, "138") == {"score": score, "acc": score}


def test_called_as_verl_calls_it():
    result = reward.compute_score(
        data_source="x", solution_str="= 061", ground_truth="061", extra_info={"index": 1}, reward_router_address=None
    )
    assert result == {"score": 1.0, "acc": 1.0}
    assert all(isinstance(value, float) for value in result.values())


@given(st.text())
def test_never_raises(response):
    assert reward.compute_score("any", response, "138")["score"] in (0.0, 1.0)


@given(st.text(alphabet="=0123 \n"))
def test_never_raises_on_answers(response):
    assert reward.compute_score("any", response, "138")["score"] in (0.0, 1.0)
