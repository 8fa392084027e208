"""ARPO's control by hand: the turn behind an answer whose first tokens were least probable."""

import math
import random

import pytest

from verl_gpo.config import GPOConfig
from verl_gpo.core.search.tool_entropy import FIRST_TOKENS, ToolEntropy, entropy_behind_answers
from verl_gpo.core.search.view import AnchorView
from verl_gpo.core.types import Trajectory


def view(*turns, steps_of=None, answer=2, longest=10_000, log_probs=True, **settings):
    """An anchor by the log-probs of its turns, with an answer between each two of them."""
    values, written, ends = [], [], []
    for number, turn in enumerate(turns):
        if number:
            values += [0.0] * answer
            written += [0] * answer
        for end in (steps_of or {}).get(number, ()):
            ends.append(len(values) + end)
        values += turn
        written += [1] * len(turn)
        ends.append(len(values))
    root = Trajectory(tuple(range(len(values))), tuple(values) if log_probs else None, 1.0, written=tuple(written))
    config = GPOConfig(search="tool_entropy", **settings)
    return AnchorView(config, root, tuple(ends), longest, float(len(values)), random.Random(0))


def test_entropy_by_hand():
    made = view([-3.0, -3.0], [-1.0, -0.5], [-0.1])
    entropy = entropy_behind_answers(made)
    assert math.isnan(entropy[0]) and entropy[1:] == pytest.approx([0.75, 0.1])
    assert ToolEntropy().choose(made).index == 1  # the prompt itself, though least sure, is behind no tool call


def test_only_the_first_tokens_of_a_turn_count():
    made = view([-1.0], [-0.2] * FIRST_TOKENS + [-50.0] * 9, [-0.3])
    assert entropy_behind_answers(made)[1:] == pytest.approx([0.2, 0.3])
    assert ToolEntropy().choose(made).index == 2


def test_a_step_within_a_turn_is_behind_no_tool_call():
    made = view([-1.0] * 4, [-0.1, -0.1, -9.0, -9.0], [-1.0], steps_of={0: [2], 1: [2]})
    assert made.ends_K == (2, 4, 8, 10, 13)
    entropy = entropy_behind_answers(made)
    assert [step for step in range(5) if not math.isnan(entropy[step])] == [2, 4]
    # The mean of the turn, up to its end, though its first step is of two tokens.
    assert entropy[2] == pytest.approx((0.1 + 0.1 + 9.0 + 9.0) / 4)


def test_the_reset_state_is_behind_the_answer_whatever_reset_says():
    for reset in ("before", "after"):
        made = view([-1.0], [-0.2], [-0.9], reset=reset)
        critical = ToolEntropy().choose(made)
        assert made.reset_state(critical.index) == 2
    assert critical.index == 1 and math.isnan(critical.advantage) and math.isnan(critical.confidence)


def test_the_first_of_equals():
    assert ToolEntropy().choose(view([-1.0], [-0.5], [-0.5])).index == 1


@pytest.mark.parametrize(
    "made",
    [
        view([-1.0, -1.0]),  # no tool was called
        view([-1.0], [-2.0], log_probs=False),
        view([-1.0] * 5, [-2.0], longest=6),  # the state lies beyond the limit
    ],
)
def test_no_step(made):
    assert ToolEntropy().choose(made) is None


def test_the_limit_leaves_earlier_turns():
    assert ToolEntropy().choose(view([-1.0], [-0.1], [-5.0], longest=3)).index == 1


def test_a_response_without_a_mask_has_no_tool_calls():
    root = Trajectory((1, 2), (-1.0, -1.0), 1.0)
    made = AnchorView(GPOConfig(search="tool_entropy"), root, (1, 2), 10, 2.0, random.Random(0))
    assert ToolEntropy().choose(made) is None
