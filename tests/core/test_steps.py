"""Splitting: hand-made cases on a byte-level toy vocabulary, and invariants on arbitrary token lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.steps import NewlineSplitter, limit_steps, merge_short_steps


def split(pieces, **kwargs):
    """Split a response that is given as its tokens' texts; token ids are positions in that list."""
    return NewlineSplitter(lambda token: pieces[token], **kwargs)(range(len(pieces)))


@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        ([], []),
        (["a"], [1]),
        (["a", "\n", "b"], [2, 3]),
        (["a", "\n", "b", "\n"], [2, 4]),
        # Blank lines belong to the line before them, whichever way the tokenizer cut them.
        (["a", "\n", "\n", "b"], [3, 4]),
        (["a", "\n\n", " ", "\n", "b"], [4, 5]),
        # A token that ends in a line break, as BPE makes them, ends the step.
        (["x", ".\n", "y"], [2, 3]),
        # A token cannot be cut: text behind the break within the token stays with the step.
        (["a", "\nb", "c", "\n", "d"], [2, 4, 5]),
        # Leading blank lines are no step of their own.
        (["\n", "\n", "a", "\n", "b"], [4, 5]),
        (["\n", "\n"], [2]),
        (["\nx", "y", "\n", "z"], [3, 4]),
    ],
)
def test_newline_splitter_by_hand(pieces, ends):
    assert split(pieces) == ends


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


@given(st.lists(st.sampled_from(PIECES)))
def test_a_boundary_follows_a_line_break_and_precedes_text(pieces):
    for end in split(pieces)[:-1]:
        last_break = max(i for i in range(end) if "\n" in pieces[i])
        assert not "".join(pieces[last_break + 1 : end]).strip()
        assert pieces[end].strip()
