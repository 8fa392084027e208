"""The nouns: what a response and a continuation refuse and keep."""

import math
from array import array

import numpy as np
import pytest
import torch

from verl_gpo.core.types import Continuation, SamplingError, ScoredContinuation, StalledError, Trajectory, as_number


def test_trajectory_refuses_log_probs_of_another_length():
    with pytest.raises(ValueError, match="1 entries for 2 tokens"):
        Trajectory((1, 2), (0.5,), 1.0)


@pytest.mark.parametrize("reward", [None, "0.5", [], torch.ones(2), np.zeros(3), 1j, 10**400], ids=repr)
def test_what_is_not_a_number_is_no_reward(reward):
    assert math.isnan(as_number(reward)) and math.isnan(Trajectory((1,), None, reward).reward)


@pytest.mark.parametrize("reward", [0.5, np.float64(0.5), torch.tensor(0.5), torch.tensor([0.5])], ids=repr)
def test_numbers_of_other_libraries_are_rewards(reward):
    assert as_number(reward) == Trajectory((1,), None, reward).reward == 0.5
    assert as_number(True) == as_number(np.bool_(True)) == 1.0 and as_number(float("-inf")) == -math.inf


def test_a_continuation_of_the_prompt_is_the_root_that_it_is():
    # What was drawn is held in arrays; a trajectory has tuples, because responses are compared and hashed.
    drawn = Continuation(array("i", [5, 6]), array("f", [-0.5, -0.25]), source="stop")
    root = ScoredContinuation(drawn, 1.0).trajectory()
    assert root == Trajectory((5, 6), (-0.5, -0.25), 1.0) and isinstance(root.token_ids, tuple)
    assert ScoredContinuation(Continuation((5,)), 0.0).trajectory() == Trajectory((5,), None, 0.0)


def test_sources_and_clocks_are_no_part_of_what_is_equal():
    assert Continuation((1,), source="a", seconds=1.0) == Continuation((1,), source="b", seconds=2.0)
    assert Trajectory((1,), None, 1.0, source="a") == Trajectory((1,), None, 1.0, source="b")
    assert Continuation((1,), context_tokens=3) != Continuation((1,), context_tokens=4)


def test_a_stalled_continuation_is_a_lost_one_that_knows_its_tokens():
    error = StalledError("given up", 7)
    assert isinstance(error, SamplingError) and (str(error), error.tokens) == ("given up", 7)
    assert StalledError("given up").tokens == 0
