"""Marks in group ids: what was written is read, and nothing else is taken for a mark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.marks import marked, unmarked

CONTENT = st.text(st.characters(codec="ascii", exclude_characters="@_", categories=["L", "N", "P"]), max_size=12)


@given(st.text(max_size=12), CONTENT)
def test_what_was_written_is_read(uid, content):
    mark = marked(uid, "reset", content)
    assert unmarked(mark, "reset") == (uid, content)
    assert unmarked(mark, "credit") is None
    assert unmarked(mark[:-1], "reset") is None and unmarked(f"{mark}.1", "reset") is None


@given(st.text(max_size=12), CONTENT, st.text(min_size=1, max_size=3))
def test_a_mark_belongs_to_one_uid(uid, content, before):
    assert unmarked(before + marked(uid, "reset", content), "reset") is None


@pytest.mark.parametrize("uid", [7, None, ("p", 1), "", ".", "p", "p@gpo.reset.0.3", "p@gpo.reset.0.3.ffffffff"])
def test_other_ids_have_no_mark(uid):
    assert unmarked(uid, "reset") is None


def test_a_marked_uid_can_be_marked_again():
    twice = marked(marked("p", "reset", "0.3"), "credit", "0.5")
    assert unmarked(twice, "credit") == (marked("p", "reset", "0.3"), "0.5") and unmarked(twice, "reset") is None
