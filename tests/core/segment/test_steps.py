"""Bounds on steps, the table of splitters and its options: hand-made cases, and invariants on arbitrary tokens."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.segment.steps import SPLITTERS, build_splitter, limit_steps, merge_short_steps


def split(pieces, min_step_tokens=1, max_steps=0):
    """Split a response that is given as its tokens' texts; token ids are positions in that list."""
    splitter = build_splitter("newline", None, lambda ids: "".join(pieces[i] for i in ids), min_step_tokens, max_steps)
    return splitter(range(len(pieces)))


def test_end_of_sequence_token_alone_joins_the_last_line():
    assert split(["a", "b", "\n", "c", "d", "\n", "<eos>"], min_step_tokens=2) == [3, 7]


@pytest.mark.parametrize(
    ("ends", "least", "merged"),
    [
        ([], 3, []),
        ([2, 5, 6, 10], 1, [2, 5, 6, 10]),
        ([2, 5, 6, 10], 3, [5, 10]),  # 2 joins (2,5]; 1 joins (6,10]
        ([4, 8, 9], 3, [4, 9]),  # the short last step joins the one before
        ([1], 5, [1]),  # nothing to join
        ([1, 2, 3], 5, [3]),
    ],
)
def test_merge_short_steps_by_hand(ends, least, merged):
    assert merge_short_steps(ends, least) == merged


@pytest.mark.parametrize(
    ("count", "most", "limited"),
    [(3, 0, [1, 2, 3]), (3, 5, [1, 2, 3]), (4, 2, [2, 4]), (5, 2, [2, 5]), (7, 3, [2, 4, 7]), (5, 1, [5])],
)
def test_limit_steps_by_hand(count, most, limited):
    assert limit_steps(range(1, count + 1), most) == limited


PIECES = ["a", "bc", "\n", "\n\n", ".\n", "\nx", " ", ""]


@given(st.lists(st.sampled_from(PIECES)), st.integers(1, 6), st.integers(0, 6))
def test_steps_are_lossless_and_bounded(pieces, least, most):
    ends = split(pieces, min_step_tokens=least, max_steps=most)
    starts = [0, *ends[:-1]]
    steps = [pieces[a:b] for a, b in zip(starts, ends, strict=True)] if pieces else []
    assert [piece for step in steps for piece in step] == pieces
    assert all(steps)
    assert len(steps) == 1 or all(len(step) >= least for step in steps)
    assert not most or len(steps) <= most


def test_log_probs_and_bounds_reach_the_splitter():
    splitter = build_splitter("low_prob", "0.5", str, min_step_tokens=2, max_steps=2)
    log_probs = [math.log(p) for p in (0.9, 0.1, 0.9, 0.1, 0.9, 0.1)]  # [1, 3, 5, 6] -> [3, 6] -> the same
    assert splitter(range(6), log_probs) == [3, 6]
    assert build_splitter("tokens", "1", str, max_steps=2)(range(6)) == [3, 6]


@pytest.mark.parametrize(("name", "option"), [("lines", None), ("newline", "3"), ("tokens", None), ("tokens", "0")])
def test_what_the_configuration_would_refuse_is_not_built(name, option):
    with pytest.raises(ValueError, match=f"splitter {name!r} with option {option!r}: "):
        build_splitter(name, option, str)


def test_every_splitter_has_one_line_of_help():
    assert all(choice.help and "\n" not in choice.help for choice in SPLITTERS.values())
