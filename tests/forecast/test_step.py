"""A step of fixed length that is taken back, and the success of sampled responses."""

import asyncio
import math

import pytest
import torch

from tests.forecast.fakes import Coins
from verl_gpo.forecast.sample import Source
from verl_gpo.forecast.step import Stepped, length, success


def test_a_step_has_its_length_and_is_taken_back():
    weights = {"a": torch.nn.Parameter(torch.tensor([[3.0, 0.0]])), "b": torch.nn.Parameter(torch.tensor([4.0]))}
    assert length(weights) == pytest.approx(5.0)
    with Stepped(weights, torch.tensor([0.0, 6.0, -8.0]), 0.5):
        assert weights["a"].tolist() == [[3.0, pytest.approx(0.3)]]
        assert weights["b"].tolist() == [pytest.approx(3.6)]
    assert weights["a"].tolist() == [[3.0, 0.0]] and weights["b"].tolist() == [4.0]
    with pytest.raises(ValueError, match="no direction"):
        Stepped(weights, torch.zeros(3), 0.5)


def test_it_is_taken_back_after_an_error():
    weights = {"a": torch.nn.Parameter(torch.tensor([1.0]))}
    with pytest.raises(KeyError), Stepped(weights, torch.tensor([1.0]), 1.0):
        raise KeyError
    assert weights["a"].tolist() == [1.0]


def test_success_of_each_prompt():
    sources = [Source(0, right := Coins([1.0]), right), Source(1, lost := Coins([1.0], fail=[1, 2]), lost)]
    sources.append(Source(2, half := Coins([1.0], fail=[1]), half))
    found = asyncio.run(success(sources, 2, 4, 100)).tolist()
    assert found[0] == 1.0 and math.isnan(found[1]) and found[2] == 1.0
    assert [seed for *_, seed in right.asked] == [100, 101] and [seed for *_, seed in half.asked] == [104, 105]
